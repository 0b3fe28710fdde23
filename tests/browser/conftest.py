"""Chromium in front of the real service: web, worker and beat, on servers of their own.

The tests only send HTTP requests: Playwright's event loop runs in this thread, and Django refuses
database queries there. The fixtures, and the loop, end with this package.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    Response,
    sync_playwright,
)

from benchmarks.client import PASSWORD
from benchmarks.service import Service
from tests.support import prepared
from tests.support.browser import Screenshot
from tests.support.service import User

OLGA = ("olga", "seven ships, two harbours")
CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium")
"""The headless shell draws the same pages in three quarters of the time."""

_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip
_VIEWS = {
    "light": ("light", 1280),
    "dark": ("dark", 1280),
    "narrow": ("light", 390),
}


@pytest.fixture(scope="package")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A running service with the operator olga."""
    if CHROMIUM is None:
        give_up = pytest.fail if os.environ.get("CI") else pytest.skip
        give_up("needs Chromium: apt-get install chromium-headless-shell")
    up = Service(prepared.home(tmp_path_factory.mktemp("browser") / "home"))
    up.environment["DJANGO_SUPERUSER_PASSWORD"] = OLGA[1]
    try:
        up.start()
        status, output = up.run(
            "createsuperuser", "--noinput", "--username", OLGA[0], "--email", ""
        )
        assert status == 0, output
        yield up
    finally:
        up.stop()


@pytest.fixture(scope="package")
def chromium(service: Service) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def session(service: Service, chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file with the cookies of a browser in which olga is logged in."""
    kept = tmp_path_factory.mktemp("session") / "state.json"
    page = chromium.new_page(base_url=service.url)
    page.goto("/admin/")
    page.locator("input[name=username]").fill(OLGA[0])
    page.locator("input[name=password]").fill(OLGA[1])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/admin/")
    page.context.storage_state(path=kept)
    page.context.close()
    return kept


@pytest.fixture
def context(service: Service, chromium: Browser, session: Path) -> Iterator[BrowserContext]:
    opened = chromium.new_context(
        base_url=service.url,
        storage_state=session,
        viewport={"width": 1280, "height": 900},
        reduced_motion="reduce",
        timezone_id="UTC",
    )
    yield opened
    opened.close()


@pytest.fixture
def page(service: Service, context: BrowserContext) -> Iterator[Page]:
    """A page in which olga is logged in; an error in it fails the test."""
    opened = context.new_page()
    errors = watch(opened, service.url)
    yield opened
    assert errors == []


class SignIn(Protocol):
    """Signs a member in, and returns the member's page; an error in it fails the test.

    `first` is the page that is shown then.
    """

    def __call__(self, username: str, *, javascript: bool = True, first: str = "/") -> Page: ...


@pytest.fixture
def sign_in(service: Service, chromium: Browser) -> Iterator[SignIn]:
    """Members in browsers of their own, whom `User.newcomer` has registered."""
    opened: list[tuple[BrowserContext, list[str]]] = []

    def signed_in(username: str, *, javascript: bool = True, first: str = "/") -> Page:
        context = chromium.new_context(
            base_url=service.url,
            viewport={"width": 1280, "height": 900},
            reduced_motion="reduce",
            timezone_id="UTC",
            java_script_enabled=javascript,
        )
        page = context.new_page()
        opened.append((context, watch(page, service.url)))
        page.goto("/")
        page.locator("input[name=username]").fill(username)
        page.locator("input[name=password]").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(f"{service.url}{first}")
        return page

    yield signed_in
    for context, _ in opened:
        context.close()
    assert [error for _, errors in opened for error in errors] == []


def watch(page: Page, home: str) -> list[str]:
    """Return a list that fills with the page's errors from now on."""
    errors: list[str] = []

    def on_console(message: ConsoleMessage) -> None:
        # A violation of the Content-Security-Policy arrives here as well.
        if message.type in ("error", "warning"):
            errors.append(f"console {message.type}: {message.text}")

    def on_request(request: Request) -> None:
        if not request.url.startswith((home, "data:")):
            errors.append(f"request to another host: {request.url}")

    def on_failed(request: Request) -> None:
        # The browser aborts the pending requests of a page when it leaves the page.
        if request.failure != "net::ERR_ABORTED":
            errors.append(f"failed: {request.url}: {request.failure}")

    def on_response(response: Response) -> None:
        if response.status >= 400:
            errors.append(f"answered {response.status}: {response.url}")

    page.on("console", on_console)
    page.on("pageerror", lambda error: errors.append(f"script: {error}"))
    page.on("request", on_request)
    page.on("requestfailed", on_failed)
    page.on("response", on_response)
    return errors


@pytest.fixture
def screenshot(request: pytest.FixtureRequest, tmp_path: Path) -> Screenshot:
    """Return a function that stores screenshots of the page: light, dark, and narrow (a phone's).

    They go to the folder of `--screenshots`, or to a temporary one. Fail if the narrow page would
    scroll sideways.
    """
    folder = Path(request.config.getoption("--screenshots") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)

    def take(page: Page, name: str) -> None:
        for view, (scheme, width) in _VIEWS.items():
            page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            page.set_viewport_size({"width": width, "height": 900})
            page.reload()
            page.wait_for_load_state("networkidle")
            page.screenshot(path=folder / f"{name}-{view}.png", full_page=True)
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"{name} is {wide} pixels wide on a screen of {width}"
        page.set_viewport_size({"width": 1280, "height": 900})

    return take


@pytest.fixture(scope="package")
def alice(service: Service) -> Iterator[User]:
    """Alice, who owns Acme, through the API."""
    with User.newcomer(service.url, "alice", patience_s=60) as client:
        client.post("/organizations", name="Acme")
        yield client
