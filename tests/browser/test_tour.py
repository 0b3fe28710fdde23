"""The tour at the beginning of the guide, as its reader takes it.

With `--pictures docs/console`, it also takes the tour's pictures, `docs/tour/*.png`.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from benchmarks.service import Service
from tests.browser.conftest import watch

WIDTH = 1000
PASSWORD = "seven ships, two harbours"

Take = Callable[..., None]


@pytest.fixture
def reader(service: Service, chromium: Browser) -> Iterator[Page]:
    """A page of somebody who has not signed in; an error in it fails the test."""
    context = chromium.new_context(
        base_url=service.url,
        viewport={"width": WIDTH, "height": 640},
        reduced_motion="reduce",
        timezone_id="UTC",
    )
    page = context.new_page()
    errors = watch(page, service.url)
    yield page
    context.close()
    assert errors == []


@pytest.fixture
def take(request: pytest.FixtureRequest, reader: Page) -> Take:
    """Return a function that stores what the window shows, if pictures are wanted."""
    given = request.config.getoption("--pictures")
    folder = Path(given).parent / "tour" if given else None

    def one(name: str, height: int = 640) -> None:
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        reader.set_viewport_size({"width": WIDTH, "height": height})
        reader.wait_for_load_state("networkidle")
        reader.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
        reader.screenshot(path=folder / f"{name}.png")

    return one


def navigate(page: Page, name: str) -> None:
    page.get_by_role("navigation", name="Main").get_by_role("link", name=name).click()


def fill_submission(page: Page, name: str, gpu: int, priority: int) -> None:
    navigate(page, "Submit")
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("Image").fill("ml/train:1")
    page.get_by_label("CPU").fill("8")
    page.get_by_label("RAM").fill("64Gi")
    page.get_by_label("GPU", exact=True).fill(str(gpu))
    page.get_by_label("Priority").fill(str(priority))


def test_the_tour(reader: Page, take: Take) -> None:
    page = reader

    # Sign in.
    page.goto("/")
    page.get_by_role("link", name="Register").click()
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("Password again").fill(PASSWORD)
    page.get_by_role("button", name="Register").click()
    expect(page.get_by_role("heading", name="Get started")).to_be_visible()
    take("start", 420)

    # An organization, and a cluster.
    page.get_by_role("link", name="Create an organization").click()
    page.get_by_label("Name").fill("Analytical Engines")
    page.get_by_role("button", name="Create").click()
    page.get_by_label("Name").fill("rack-1")
    page.get_by_label("Number of nodes").fill("2")
    page.get_by_label("CPU of each node").fill("64")
    page.get_by_label("RAM of each node").fill("512Gi")
    page.get_by_label("GPUs of each node").fill("4")
    page.get_by_label("Model of the GPUs").fill("a100-80gb")
    take("cluster", 620)
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_text("rack-1 takes deployments now.")).to_be_visible()

    # Submit: the page says beforehand what would happen.
    fill_submission(page, "training-1", gpu=4, priority=40)
    outcome = page.get_by_role("region", name="What would happen now")
    expect(outcome).to_contain_text("rack-1")
    take("submit", 600)
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("heading", name="training-1", level=1)).to_be_visible()
    fill_submission(page, "training-2", gpu=4, priority=30)
    page.get_by_role("button", name="Submit").click()

    # The third one does not fit: it waits, and the page says why.
    fill_submission(page, "evaluation", gpu=2, priority=20)
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("region", name="What is missing on each cluster")).to_be_visible()
    take("wait", 700)
    navigate(page, "Deployments")
    row = page.get_by_role("row")
    expect(row.filter(has_text="evaluation")).to_contain_text("1 of 1")
    expect(row.filter(has_text="training-1")).to_contain_text("running", timeout=30_000)
    expect(row.filter(has_text="training-2")).to_contain_text("running", timeout=30_000)
    take("list", 520)

    # A higher priority preempts: the preview says whom.
    page.get_by_role("link", name="evaluation").click()
    page.get_by_role("link", name="Change priority").click()
    page.get_by_label("New priority").fill("90")
    page.get_by_role("button", name="Preview").click()
    evicted = page.get_by_role("region", name="Would be evicted")
    expect(evicted.get_by_role("link", name="training-2")).to_be_visible()
    take("preview", 930)
    page.get_by_role("button", name="Change priority: evaluation").click()
    expect(page.get_by_text("evaluation: given another priority.")).to_be_visible()

    # The preempted one says who took its place, and keeps its logs.
    navigate(page, "Deployments")
    expect(row.filter(has_text="evaluation")).to_contain_text("running", timeout=30_000)
    page.get_by_role("link", name="training-2").click()
    expect(page.get_by_text("For evaluation").first).to_be_visible()
    take("preempted", 810)
    page.get_by_role("link", name="logs").first.click()
    expect(page.get_by_role("log")).to_contain_text("simulated container")
    take("logs", 360)

    # The organization: what is free, and the link that invites others.
    navigate(page, "Organizations")
    page.get_by_role("link", name="Analytical Engines").click()
    expect(page.get_by_role("heading", name="GPUs by model")).to_be_visible()
    take("organization", 640)
    page.get_by_role("link", name="Members").click()
    assert "/my/organizations/join/?code=" in page.get_by_label("Link").input_value()
