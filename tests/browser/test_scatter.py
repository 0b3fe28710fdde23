"""A deployment for which enough is free, but on no node, is explained wherever it is shown."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from benchmarks.service import Service, wait_until
from tests.support.browser import Screenshot
from tests.support.service import User

SOON_MS = 30_000

RACK = [("n1", "h100"), ("n2", "h100"), ("n3", "a100"), ("n4", "a100")]


@pytest.fixture
def team(service: Service) -> Iterator[User]:
    with User.newcomer(service.url, "sally", patience_s=10) as client:
        client.post("/organizations", name="Scatter")
        yield client


def half_full_rack(team: User) -> tuple[int, dict[str, str]]:
    """Return a rack of four nodes with 8 GPUs, of which 4 are free on each, and who is where."""
    size = {"cpu": 64, "ram_mib": "256Gi", "gpu": 8}
    nodes = [{"name": name, **size, "labels": {"gpu.model": model}} for name, model in RACK]
    rack = int(team.post("/clusters", name="rack-1", nodes=nodes)["id"])
    jobs = [team.deploy(f"fit-{number}", gpu=4, priority=50) for number in range(8)]
    for job in jobs:
        team.wait_for(job, "running")
    by_node: dict[str, list[dict[str, Any]]] = {}
    for job in jobs:
        row = team.get(f"/deployments/{job}")
        by_node.setdefault(row["node"]["name"], []).append(row)
    for first, _ in by_node.values():
        team.post(f"/deployments/{first['id']}/stop")
    for first, _ in by_node.values():
        team.wait_for(first["id"], "stopped")
    return rack, {node: str(left["name"]) for node, (_, left) in by_node.items()}


def code(team: User, deployment: int) -> str:
    return str(team.get(f"/deployments/{deployment}")["status_code"])


def test_scattered_capacity_is_explained_on_every_page(
    page: Page, team: User, screenshot: Screenshot
) -> None:
    rack, left = half_full_rack(team)
    wide = team.deploy("wide", gpu=8, priority=50)
    a100 = {"gpu.model": ["a100"]}
    narrow = team.deploy("wide-a100", gpu=8, priority=50, require=a100)
    waiting = (wide, narrow)
    wait_until(
        lambda: {code(team, job) for job in waiting} == {"scattered"},
        "both wait because of scatter",
    )

    explained = team.get(f"/deployments/{wide}/explain")["reason"]
    required = team.get(f"/deployments/{narrow}/explain")["reason"]
    tried = team.post(
        "/deployments?dry_run=true", name="tried", image="ml/train:1", cpu=1, ram_mib=1024, gpu=8,
        priority=50, require=a100,
    )  # fmt: skip

    assert (
        "16 GPU are free for it on rack-1, but no node has 8 GPU: the largest free block is 4 GPU;"
        " moving fit-"
    ) in explained
    assert explained.endswith("would make one.")
    assert "8 GPU are free for it on rack-1, but no node has 8 GPU" in required
    assert any(f"moving {left[node]} (" in required for node in ("n3", "n4"))
    assert (tried["outcome"], tried["code"]) == ("wait", "scattered")
    assert tried["reason"] == required

    organization = team.list("/organizations")[0]["id"]
    page.goto(f"/admin/queue/?organization={organization}")
    line = page.get_by_role("row").filter(has_text="wide-a100")
    expect(line).to_contain_text("8 GPU free, but at most 4 GPU on one node")
    line.locator("summary").click()
    expect(line).to_contain_text("would make one")
    screenshot(page, "scatter-queue")

    page.goto(f"/admin/cluster/{rack}/")
    expect(page.get_by_label("Demand")).to_contain_text("16 GPU are free for it on rack-1")
    expect(page.get_by_label("Demand")).to_contain_text(f"moving {left['n1']}")
    screenshot(page, "scatter-cluster")

    page.goto(f"/admin/deployments/deployment/{wide}/change/")
    expect(page.get_by_text("the largest free block is 4 GPU; moving").first).to_be_visible()
    screenshot(page, "scatter-deployment")
