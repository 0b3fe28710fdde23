"""An operator connects the nodes of a cluster to engines."""

import pytest
from playwright.sync_api import Page, expect

from tests.support.browser import Screenshot
from tests.support.docker_engine import Engine
from tests.support.service import User

pytestmark = pytest.mark.docker


def test_one_node_is_connected_on_the_engine_page_of_its_cluster(
    page: Page, alice: User, engine: Engine, screenshot: Screenshot
) -> None:
    node = {"name": "gpu", "count": 2, "cpu": 1, "ram_mib": 512, "gpu": 2}
    rack = int(alice.post("/clusters", name="shelf", nodes=[node])["id"])
    page.goto(f"/admin/cluster/{rack}/")
    page.get_by_role("link", name="Engine", exact=True).click()
    expect(page.get_by_role("heading", name="Connect to an engine: node gpu-1")).to_be_visible()

    page.get_by_label("Endpoint").fill(engine.socket)
    page.get_by_label("None: no network at all").check()
    page.get_by_label("GPUs").fill("g0\ng1")
    page.get_by_role("button", name="Probe the engine").click()
    expect(page.get_by_role("columnheader", name="Capacity of node gpu-1")).to_be_visible()
    page.get_by_role("button", name="Connect").click()

    expect(page.get_by_text("Node gpu-1 of cluster shelf is connected.")).to_be_visible()
    expect(page.get_by_role("heading", name="Node gpu-1 is connected")).to_be_visible()
    expect(page.get_by_role("heading", name="Connect to an engine: node gpu-2")).to_be_visible()
    expect(page.get_by_role("link", name="gpu-2, no engine")).to_be_visible()
    screenshot(page, "engines-of-nodes")
    states = {n["name"]: n["state"] for n in alice.list(f"/clusters/{rack}/nodes")}
    assert states == {"gpu-1": "active", "gpu-2": "cordoned"}
    page.goto(f"/admin/cluster/{rack}/")
    expect(page.get_by_text("No engine is connected to it").first).to_be_visible()
    page.goto(f"/admin/clusters/cluster/{rack}/connect/")
    page.get_by_role("button", name="Disconnect and cordon").click()
    expect(page.get_by_role("heading", name="is connected")).to_have_count(0)
