"""Types of the browser tests."""

from collections.abc import Callable

from playwright.sync_api import Page

Screenshot = Callable[[Page, str], None]
