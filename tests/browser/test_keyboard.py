"""A drain by keyboard alone: Tab, Enter, Space and typing; the focus is always visible."""

import pytest
from playwright.sync_api import Page, expect

from tests.support.service import User

_MOST_STEPS = 80

_FOCUS = """() => {
    const element = document.activeElement;
    const style = getComputedStyle(element);
    const box = element.getBoundingClientRect();
    return {
        name: (element.getAttribute("aria-label") || element.labels?.[0]?.textContent
            || element.textContent).trim(),
        seen: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1
            && box.width > 0 && box.bottom > 0 && box.top < innerHeight,
    };
}"""


def step_to(page: Page, name: str) -> None:
    """Press Tab until the element with the name has the focus, which is visible each time."""
    for _ in range(_MOST_STEPS):
        page.keyboard.press("Tab")
        focus = page.evaluate(_FOCUS)
        assert focus["seen"], f"the focus on {focus['name']!r} is not visible at {page.url}"
        if focus["name"] == name:
            return
    pytest.fail(f"{name!r} is not reached with Tab at {page.url}")


def test_a_cluster_is_found_and_drained(page: Page, alice: User) -> None:
    cluster = alice.post("/clusters", name="to-drain", cpu=2, ram_mib="2Gi", gpu=0)["id"]
    page.goto("/admin/")

    page.keyboard.press("Control+k")
    page.keyboard.type("to-drain")
    expect(page.locator("#found").get_by_role("link", name="to-drain active, Acme")).to_be_visible()
    step_to(page, "to-drain active, Acme")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Cluster to-drain")).to_be_visible()
    step_to(page, "Drain…")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Drain: to-drain")).to_be_visible()
    step_to(page, "Note")
    page.keyboard.type("maintenance")
    step_to(page, "Drain: to-drain")
    page.keyboard.press("Enter")

    expect(page.get_by_text("to-drain: draining.")).to_be_visible()
    assert alice.get(f"/clusters/{cluster}")["state"] == "draining"


def test_the_search_is_left_with_escape(page: Page, alice: User) -> None:
    page.goto("/admin/")
    page.keyboard.press("Control+k")
    page.keyboard.type("acme")
    expect(page.locator("#found").get_by_role("link", name="Acme").first).to_be_visible()
    page.keyboard.press("Tab")

    page.keyboard.press("Escape")

    expect(page.locator("#search")).to_be_focused()
    expect(page.locator("#found")).to_be_empty()


def test_the_focus_stays_after_a_refresh(page: Page, alice: User) -> None:
    page.clock.install()
    page.goto("/admin/queue/")
    step_to(page, "On hold 0")

    with page.expect_response(lambda response: "/admin/queue/" in response.url):
        page.clock.run_for(20_000)

    expect(page.get_by_role("link", name="On hold 0")).to_be_focused()
