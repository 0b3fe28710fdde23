"""Operators see the queue and a cluster, and act on both through previews."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from benchmarks.service import Service
from tests.support.browser import Screenshot
from tests.support.service import User

SOON_MS = 30_000
"""A cycle and a refresh of the page take much less than this."""

HERE = Path(__file__).parent

_numbers = count(1)


@pytest.fixture
def team(service: Service) -> Iterator[User]:
    """A user with a separate organization, which other tests do not affect."""
    number = next(_numbers)
    with User.newcomer(service.url, f"tess-{number}", patience_s=10) as client:
        client.post("/organizations", name=f"Team {number}")
        yield client


def cluster(team: User, name: str, cpu: int = 4) -> int:
    return int(team.post("/clusters", name=name, cpu=cpu, ram_mib="8Gi", gpu=0)["id"])


def organization(team: User) -> int:
    return int(team.list("/organizations")[0]["id"])


def queue(page: Page, team: User, group: str = "competing") -> None:
    page.goto(f"/admin/queue/?organization={organization(team)}&group={group}")


def row(page: Page, name: str) -> Locator:
    return page.get_by_role("row").filter(has_text=name)


def racks(team: User, nodes: dict[str, int]) -> int:
    """Create a cluster of nodes with this many GPUs; return its id."""
    specs = [
        {"name": name, "cpu": 32, "ram_mib": "64Gi", "gpu": gpu, "labels": {"gpu.model": "h100"}}
        for name, gpu in nodes.items()
    ]
    return int(team.post("/clusters", name="rack", nodes=specs)["id"])


def gpus(page: Page, node: str) -> Locator:
    return page.get_by_role("list", name=f"GPUs of {node}", exact=True)


def choose(page: Page, name: str, action: str) -> None:
    page.get_by_role("checkbox", name=f"Choose {name}", exact=True).check()
    page.get_by_role("button", name=f"{action}…").click()


def test_a_cluster_is_drained_through_its_preview(
    page: Page, team: User, screenshot: Screenshot
) -> None:
    east, west = cluster(team, "east"), cluster(team, "west", cpu=2)
    moving = team.deploy("moving", cpu=2)
    staying = team.deploy("evicted", cpu=3, priority=20)
    for deployment in (moving, staying):
        team.wait_for(deployment, "running")
    where = {d["name"]: d["cluster"] for d in team.list("/deployments")}
    assert where["evicted"] == east

    page.goto("/admin/clusters/cluster/?q=east")
    page.get_by_role("link", name="east", exact=True).click()
    page.get_by_role("link", name="Drain…").click()
    expect(page.get_by_role("heading", name="Would be evicted")).to_be_visible()
    expect(page.get_by_text("east is draining, and no other cluster can run it.")).to_be_visible()
    screenshot(page, "drain-preview")
    page.get_by_role("button", name="Drain: east").click()

    expect(page.get_by_text("east: draining.")).to_be_visible()
    expect(page.get_by_role("heading", name="Drained: nothing runs here")).to_be_visible(
        timeout=SOON_MS
    )
    assert team.status(staying) == "pending"
    assert team.get(f"/deployments/{moving}")["cluster"] == west
    screenshot(page, "cluster-drained")


def test_a_node_is_drained_on_the_page_of_its_cluster(
    page: Page, team: User, screenshot: Screenshot
) -> None:
    labels = {"gpu.model": "a100-80gb", "zone": "a"}
    node = {"name": "gpu", "count": 2, "cpu": 4, "ram_mib": "8Gi", "gpu": 2, "labels": labels}
    rack = int(team.post("/clusters", name="rack", nodes=[node])["id"])
    moving = team.deploy("moving", cpu=2, gpu=1)
    team.wait_for(moving, "running")
    before = team.get(f"/deployments/{moving}")["node"]["name"]

    page.goto(f"/admin/cluster/{rack}/")
    expect(row(page, "gpu-2")).to_contain_text("gpu.model=a100-80gb")
    screenshot(page, "cluster-nodes")
    page.get_by_role("link", name=f"Drain {before}").click()
    expect(page.get_by_role("heading", name="Would move")).to_be_visible()
    screenshot(page, "node-drain-preview")
    page.get_by_role("button", name=f"Drain: {before}").click()

    expect(page.get_by_text(f"{before}: draining.")).to_be_visible()
    other = "gpu-1" if before == "gpu-2" else "gpu-2"
    expect(gpus(page, other)).to_contain_text("moving", timeout=SOON_MS)
    assert team.get(f"/deployments/{moving}")["node"]["name"] == other


def test_a_node_is_cordoned_and_uncordoned_on_the_page_of_its_cluster(
    page: Page, team: User
) -> None:
    rack = racks(team, {"gpu-1": 2, "gpu-2": 2})
    busy = team.deploy("busy", gpu=2)
    team.wait_for(busy, "running")
    there = team.get(f"/deployments/{busy}")["node"]["name"]
    other = "gpu-1" if there == "gpu-2" else "gpu-2"

    page.goto(f"/admin/cluster/{rack}/")
    page.get_by_role("link", name=f"Cordon {other}").click()
    expect(page.get_by_text("No other deployment is affected.")).to_be_visible()
    assert [node["state"] for node in team.list(f"/clusters/{rack}/nodes")] == ["active"] * 2
    page.get_by_role("button", name=f"Cordon: {other}").click()

    expect(page.get_by_text(f"{other}: cordoned.")).to_be_visible()
    expect(row(page, other)).to_contain_text("cordoned")
    waiting = team.deploy("waiting", gpu=1)
    expect(page.get_by_text("1 competing deployment could run here")).to_be_visible(timeout=SOON_MS)

    page.get_by_role("link", name=f"Uncordon {other}").click()
    expect(row(page, "waiting")).to_contain_text("starts")
    page.get_by_role("button", name=f"Uncordon: {other}").click()

    expect(gpus(page, other).get_by_role("link", name="waiting")).to_be_visible(timeout=SOON_MS)
    assert team.status(busy) == "running"
    team.wait_for(waiting, "running")


def test_each_gpu_of_a_node_shows_which_deployment_has_it(
    page: Page, team: User, screenshot: Screenshot
) -> None:
    rack = racks(team, {"large": 16, "middle": 8, "one": 1, "small": 4})
    for name, gpu, priority in (
        ("pretraining-of-the-large-model", 12, 90), ("fleet-inference", 6, 80),
        ("detector-train-07", 3, 50), ("notebook", 1, 20), ("hyperparameter-trial-13", 1, 20),
    ):  # fmt: skip
        team.wait_for(team.deploy(name, gpu=gpu, priority=priority), "running")
    page.goto(f"/admin/cluster/{rack}/")

    blocks = gpus(page, "large").get_by_role("listitem").filter(has_text="pretraining")
    expect(blocks).to_have_count(3)
    expect(blocks.first).to_contain_text("priority 90")
    assert blocks.first.get_attribute("title") == (
        "pretraining-of-the-large-model, priority 90, allocated: 4 GPU"
    )
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.reload()
        expect(page.locator("html.dark")).to_have_count(int(scheme == "dark"))
        assert page.evaluate((HERE / "contrast.js").read_text()) == []
    screenshot(page, "cluster-gpus")

    blocks.first.get_by_role("link").click()
    expect(page.get_by_role("heading", name="pretraining-of-the-large-model")).to_be_visible()


def test_a_deployment_is_put_on_hold_and_released_from_the_queue(
    page: Page, team: User, screenshot: Screenshot
) -> None:
    cluster(team, "small")
    team.wait_for(team.deploy("in-the-way", cpu=4, priority=90), "running")
    waiting = team.deploy("patient", cpu=4)

    queue(page, team)
    expect(row(page, "patient")).to_contain_text("short of 4 CPU", timeout=SOON_MS)
    screenshot(page, "queue")
    choose(page, "patient", "Hold")
    page.get_by_role("button", name="Hold: patient").click()
    expect(page.get_by_text("patient: put on hold.")).to_be_visible()
    assert team.get(f"/deployments/{waiting}")["held"] is True

    page.get_by_role("link", name="On hold 1").click()
    choose(page, "patient", "Release")
    page.get_by_role("button", name="Release: patient").click()

    expect(page.get_by_text("patient: released.")).to_be_visible()
    assert team.get(f"/deployments/{waiting}")["held"] is False


def test_a_preemption_appears_on_the_queue_without_a_reload(page: Page, team: User) -> None:
    cluster(team, "only")
    team.wait_for(team.deploy("modest", cpu=4, priority=20), "running")
    queue(page, team)
    page.evaluate("window.untouched = true")
    expect(page.get_by_text("No deployment is competing for capacity.")).to_be_visible()

    team.wait_for(team.deploy("urgent", cpu=4, priority=90), "running")

    recent = page.get_by_role("listitem").filter(has_text="modest")
    expect(recent).to_contain_text("for urgent", timeout=SOON_MS)
    expect(row(page, "modest")).to_contain_text("short of 4 CPU")
    assert page.evaluate("window.untouched")


def test_a_refresh_keeps_the_selection(page: Page, team: User) -> None:
    cluster(team, "full")
    team.wait_for(team.deploy("in-the-way", cpu=4, priority=90), "running")
    team.deploy("first", cpu=4)
    queue(page, team)
    page.get_by_role("checkbox", name="Choose first", exact=True).check()

    team.deploy("second", cpu=4, priority=80)

    expect(row(page, "second")).to_be_visible(timeout=SOON_MS)
    expect(page.get_by_role("checkbox", name="Choose first", exact=True)).to_be_checked()
    expect(page.get_by_text("1 chosen:")).to_be_visible()


def test_the_operator_gets_a_new_preview_when_the_situation_changes(page: Page, team: User) -> None:
    cluster(team, "busy")
    running = team.deploy("running", cpu=4, priority=90)
    team.wait_for(running, "running")
    queue(page, team, "placed")
    choose(page, "running", "Stop")
    expect(page.get_by_text("No other deployment is affected.")).to_be_visible()

    team.deploy("newcomer", cpu=4)
    page.get_by_role("button", name="Stop: running").click()

    expect(page.get_by_text("Nothing was done: the situation has changed.")).to_be_visible()
    expect(row(page, "newcomer")).to_contain_text("starts")
    assert team.status(running) == "running"
    page.get_by_role("button", name="Stop: running").click()
    expect(page.get_by_text("running: stopped.")).to_be_visible()


def test_the_timeline_shows_victims_and_preemptors(
    page: Page, team: User, screenshot: Screenshot
) -> None:
    where = cluster(team, "history")
    team.wait_for(team.deploy("modest", cpu=4, priority=20), "running")
    team.wait_for(team.deploy("urgent", cpu=2, priority=90), "running")

    page.goto(f"/admin/cluster/{where}/?span=15m")

    expect(page.get_by_text("1 of them preempted")).to_be_attached()
    page.get_by_text("As a table").click()
    expect(page.get_by_role("row").filter(has_text="evicted for deployment")).to_be_visible()
    screenshot(page, "cluster")
