"""Checks of every page of the operators' admin."""

import pytest
from playwright.sync_api import Page, expect

from tests.support.browser import Screenshot
from tests.support.service import User

LISTS = (
    "clusters/cluster", "clusters/node", "deployments/deployment", "deployments/run",
    "deployments/registry", "orgs/event", "scheduling/schedulingcycle",
    "django_celery_beat/periodictask", "accounts/user",
)  # fmt: skip


@pytest.mark.parametrize("path", LISTS)
def test_a_list_opens_without_errors(page: Page, alice: User, path: str) -> None:
    page.goto(f"/admin/{path}/")

    expect(page.get_by_role("heading", level=1)).to_be_visible()


def test_the_keyboard_skips_to_the_content(page: Page) -> None:
    page.goto("/admin/")

    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")

    assert page.url.endswith("#content")


def test_the_sidebar_folds_by_keyboard(page: Page) -> None:
    page.goto("/admin/")
    sidebar = page.locator("#nav-sidebar").get_by_role("link", name="Deployments")
    expect(sidebar).to_be_visible()

    page.get_by_role("button", name="Sidebar").press("Enter")

    expect(sidebar).to_be_hidden()


def test_the_first_page_looks_right_in_every_layout(
    page: Page, alice: User, screenshot: Screenshot
) -> None:
    page.goto("/admin/")

    screenshot(page, "index")


def test_the_form_of_a_registry_looks_right_in_every_layout(
    page: Page, alice: User, screenshot: Screenshot
) -> None:
    page.goto("/admin/deployments/registry/add/")
    password = page.get_by_label("Password")
    password.fill("hunter2")
    page.get_by_role("button", name="Save", exact=True).click()

    expect(page.get_by_label("Password")).to_have_value("")
    screenshot(page, "registry")
