"""Takes the pictures of the documentation, `docs/console/*.png`, from a service with the demo.

    pytest tests/browser/test_pictures.py tests/browser/test_tour.py --pictures docs/console

The service runs the demo for some minutes first, so that the plots have something to show, and
urgent deployments evict others meanwhile. Without `--pictures` nothing is taken.
"""

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from benchmarks.client import Client
from benchmarks.service import Service

MINUTES = 16
"""How long the demo runs: until deployments have waited too long. Longer gives fuller plots."""

EVERY_S = 75
"""The time between urgent deployments."""

URGENT = {
    "image": "perception/evaluate:1.4", "cpu": 24, "ram_mib": "128Gi", "gpu": 4, "priority": 80,
    "env": {"SIMULATE_RUN_SECONDS": "60"},
}  # fmt: skip

WIDTH = 1280

Take = Callable[..., None]


@pytest.fixture
def folder(request: pytest.FixtureRequest) -> Path:
    given = request.config.getoption("--pictures")
    if not given:
        pytest.skip("takes the pictures of the documentation: --pictures docs/console")
    made = Path(given)
    made.mkdir(parents=True, exist_ok=True)
    return made


@pytest.fixture
def take(page: Page, folder: Path) -> Take:
    """Return a function that stores what the window shows; with a height of 0, the whole page."""

    def one(name: str, height: int) -> None:
        page.set_viewport_size({"width": WIDTH, "height": height or 900})
        page.wait_for_load_state("networkidle")
        page.screenshot(path=folder / f"{name}.png", full_page=not height)

    return one


def read(service: Service, expression: str) -> int:
    """Return a number that the service's database has, by a query on its models."""
    imports = (
        "from clusters.models import Cluster; from deployments.models import Deployment;"
        " from scheduling.models import SchedulingCycle"
    )
    status, output = service.run("shell", "-v", "0", "-c", f"{imports}; print({expression})")
    assert status == 0, output
    return int(output.split()[-1])


def keep_busy(service: Service, minutes: float) -> None:
    """Run the demo, and submit an urgent deployment again and again."""
    status, output = service.run("demo", "--no-docker")
    assert status == 0, output
    password = re.search(r"the password is (\S+)", output)
    assert password
    with Client(service.url, patience_s=30) as amara:
        amara.log_in("amara", password[1])
        until, number = time.monotonic() + 60 * minutes, 0
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(EVERY_S, left))
            number += 1
            amara.post("/deployments", name=f"evaluation-{number:02}", **URGENT)


def test_take_the_pictures(service: Service, page: Page, take: Take) -> None:
    keep_busy(service, MINUTES)
    rack = read(service, "Cluster.objects.get(name='east-a100').pk")
    evicted = read(
        service,
        "Deployment.objects.pending().filter(preemptions__gt=0,"
        " organization__name='Perception').order_by('-preemptions', 'pk')[0].pk",
    )
    cycle = read(
        service,
        "SchedulingCycle.objects.filter(evicted__gt=0, placed__gt=0,"
        " organization__name='Perception').latest('pk').pk",
    )

    page.goto("/admin/?span=1h")
    take("dashboard", 1000)
    page.set_viewport_size({"width": WIDTH, "height": 1440})
    page.evaluate("document.getElementById('time-title').scrollIntoView()")
    take("dashboard-plots", 1440)

    page.goto("/admin/queue/")
    take("queue", 900)
    page.goto(f"/admin/cluster/{rack}/?span=15m")
    take("cluster", 1000)
    page.get_by_role("link", name="Drain…").first.click()
    take("preview", 900)
    page.goto(f"/admin/deployments/deployment/{evicted}/change/")
    take("deployment", 1020)

    page.goto(f"/admin/scheduling/schedulingcycle/{cycle}/change/")
    page.get_by_label("Min run").fill("3600")
    page.get_by_role("button", name="Plan again").click()
    expect(page.get_by_text("The decision differs")).to_be_visible()
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    take("cycle", 0)
