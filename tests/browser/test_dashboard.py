"""The first page of the admin, on a running service."""

import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from benchmarks.client import ApiError
from benchmarks.service import Service, wait_until
from tests.support.browser import Screenshot
from tests.support.service import User

SOON_MS = 20_000
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def dora(service: Service) -> Iterator[User]:
    """Dora, whose organization has one cluster with one GPU."""
    with User.newcomer(service.url, "dora", patience_s=60) as client:
        client.post("/organizations", name="Dynamo")
        client.post("/clusters", name="dynamo", cpu=8, ram_mib="32Gi", gpu=1)
        yield client


@pytest.fixture
def training(dora: User) -> Iterator[int]:
    """A training of low priority that runs on the only GPU."""
    deployment = dora.deploy("slow-training", gpu=1, priority=20)
    dora.wait_for(deployment, "running")
    yield deployment
    wait_until(lambda: is_cleared(dora), "nothing of dora's runs or waits")


def is_cleared(dora: User) -> bool:
    """End the pending deployments, then the active ones; return whether there were none."""
    live = [row for row in dora.list("/deployments") if not row["finished_at"]]
    for row in sorted(live, key=lambda row: row["status"] != "pending"):
        if row["status"] != "stopping":
            with suppress(ApiError):  # its state has just changed
                verb = "cancel" if row["status"] == "pending" else "stop"
                dora.post(f"/deployments/{row['id']}/{verb}")
    return not live


def test_a_preemption_appears_without_a_reload(page: Page, dora: User, training: int) -> None:
    page.goto("/admin/")
    page.evaluate("window.notReloaded = true")
    page.locator("#flow-1 summary, details summary").last.press("Enter")
    open_details = page.locator("details[open]")
    expect(open_details).to_have_count(1)
    focused = page.evaluate("document.activeElement.textContent")

    dora.deploy("urgent-answer", gpu=1, priority=90)

    row = page.locator("#recent tbody tr").filter(has_text="urgent-answer")
    expect(row).to_contain_text("slow-training", timeout=SOON_MS)
    expect(row).to_contain_text("evicted")
    expect(row).to_contain_text("priority 90 over 20")
    expect(page.locator("#announcer")).to_contain_text("Latest preemption: slow-training.")
    assert page.evaluate("window.notReloaded") is True
    expect(open_details).to_have_count(1)
    assert page.evaluate("document.activeElement.textContent") == focused


def test_the_number_of_waiting_deployments_is_refreshed(
    page: Page, dora: User, training: int
) -> None:
    page.goto("/admin/")
    row = page.locator(".d-levels tbody tr").filter(has=page.get_by_role("link", name="13"))
    expect(row).to_have_count(0)

    dora.deploy("patient", gpu=1, priority=13)

    expect(row).to_contain_text("1", timeout=SOON_MS)


def live_requests(page: Page) -> list[str]:
    """Return a list that grows with each refresh request of the page."""
    requests: list[str] = []
    page.on(
        "request",
        lambda request: requests.append(request.url) if "x-fragment" in request.headers else None,
    )
    return requests


def test_the_refresh_can_be_paused_and_resumed(page: Page, dora: User) -> None:
    page.clock.install()
    page.goto("/admin/")
    requests = live_requests(page)

    page.get_by_role("button", name="Pause").click()
    page.clock.run_for(60_000)
    assert requests == []
    expect(page.locator("#refresh-state")).to_contain_text("Paused")

    page.get_by_role("button", name="Resume").click()
    page.clock.run_for(1_000)
    expect(page.locator("#refresh-state")).to_contain_text("Updated")
    assert len(requests) == 1


def test_a_hidden_tab_is_not_refreshed(page: Page, dora: User) -> None:
    page.clock.install()
    page.goto("/admin/")
    requests = live_requests(page)

    turn(page, hidden=True)
    page.clock.run_for(60_000)
    assert requests == []

    with page.expect_request(lambda request: "x-fragment" in request.headers):
        turn(page, hidden=False)
        page.clock.run_for(1_000)


def turn(page: Page, *, hidden: bool) -> None:
    """Make the page see its tab as hidden or visible."""
    page.evaluate(
        """hidden => {
            Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )


def test_it_shows_when_it_is_no_longer_up_to_date(context: BrowserContext, dora: User) -> None:
    page = context.new_page()
    page.clock.install()
    page.goto("/admin/")
    page.route("**/admin/", lambda route: route.abort())

    page.clock.run_for(6_000)

    state = page.locator("#refresh-state")
    expect(state).to_contain_text("Not updated since")
    page.unroute("**/admin/")
    page.clock.run_for(15_000)
    expect(state).to_contain_text("Updated")


def test_a_user_who_was_logged_out_gets_the_log_in_page(
    context: BrowserContext, dora: User
) -> None:
    page = context.new_page()
    page.clock.install()
    page.goto("/admin/")

    context.clear_cookies()
    page.clock.run_for(6_000)

    page.wait_for_url(re.compile("/account/sign-in/"))


def test_the_cluster_and_the_span_of_the_plots_can_be_chosen(
    page: Page, alice: User, dora: User
) -> None:
    alice.post("/clusters", name="acme-rack", cpu=4, ram_mib="8Gi", gpu=0)
    page.goto("/admin/")

    page.get_by_role("link", name="24h").click()
    page.locator("#choose-cluster summary").click()
    page.get_by_role("link", name="dynamo Dynamo").last.click()

    expect(page.get_by_role("heading", name="Over time: dynamo")).to_be_visible()
    expect(page.get_by_role("link", name="24h")).to_have_attribute("aria-current", "true")
    expect(page.get_by_role("heading", name=re.compile("^GPU: . of 1 free"))).to_be_visible()


def test_the_gpus_are_shown_by_model(page: Page, dora: User, training: int) -> None:
    node = {"cpu": 8, "ram_mib": "32Gi", "gpu": 4, "labels": {"gpu.model": "model-of-dora"}}
    dora.post("/clusters", name="labelled", nodes=[{"name": "gpu", "count": 2} | node])
    page.goto("/admin/")

    models = page.get_by_role("table", name="GPUs by model, most first").get_by_role("row")
    labelled = models.filter(has_text="model-of-dora").get_by_role("cell")
    expect(labelled).to_have_text(["0/8", re.compile("^8"), "4", "2"])
    expect(models.filter(has_text="unlabelled")).to_be_visible()


def test_focus_is_visible_on_every_control(page: Page, training: int) -> None:
    page.goto("/admin/")
    page.locator("#refresh-toggle").focus()

    for _ in range(12):
        page.keyboard.press("Tab")
        width, style, name = page.evaluate(
            """() => {
                const style = getComputedStyle(document.activeElement);
                return [style.outlineWidth, style.outlineStyle, document.activeElement.outerHTML];
            }"""
        )
        assert (style, width >= "2px") == ("solid", True), name


def test_images_have_names_and_headings_are_in_order(page: Page, training: int) -> None:
    page.goto("/admin/")

    for picture in page.locator("#live svg[role=img]").all():
        name = picture.get_attribute("aria-labelledby") or ""
        assert all(page.locator(f"[id='{part}']").count() == 1 for part in name.split())
    levels = page.locator("h1, h2, h3").evaluate_all(
        "all => all.filter(h => !h.closest('#nav-sidebar')).map(h => Number(h.tagName[1]))"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_enough_contrast(
    page: Page, dora: User, training: int, scheme: Literal["light", "dark"]
) -> None:
    page.emulate_media(color_scheme=scheme)
    page.goto("/admin/")
    expect(page.locator("html.dark")).to_have_count(int(scheme == "dark"))

    assert page.evaluate((HERE / "contrast.js").read_text()) == []


def test_it_looks_right_in_every_layout(page: Page, training: int, screenshot: Screenshot) -> None:
    page.goto("/admin/")

    screenshot(page, "dashboard")


def test_a_hanging_beat_raises_an_alarm_that_ends_when_it_works_again(
    page: Page, service: Service, dora: User
) -> None:
    page.goto("/admin/")
    alarm = page.locator(".d-alarm").filter(has_text="Beat: last seen")
    expect(alarm).to_have_count(0, timeout=SOON_MS)
    beat = service.processes()["beat"]

    beat.suspend()
    try:
        expect(alarm).to_contain_text("Start beat.", timeout=60_000)
        expect(page.locator("#announcer")).to_contain_text("1 alarm")
    finally:
        beat.resume()

    expect(alarm).to_have_count(0, timeout=SOON_MS)
