"""Two people on the pages of an organization, of its cluster and of tokens."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from benchmarks.service import Service
from tests.browser.conftest import SignIn
from tests.support.browser import Screenshot
from tests.support.service import User

OWNER, GUEST = "grace", "edith"


@pytest.fixture(scope="module")
def cluster(service: Service) -> Iterator[int]:
    """Grace's cluster, on which a deployment runs; Edith has no organization."""
    with (
        User.newcomer(service.url, GUEST, patience_s=10),
        User.newcomer(service.url, OWNER, patience_s=10) as grace,
    ):
        grace.post("/organizations", name="Flow-Matic")
        nodes = [{"name": "gpu", "cpu": 16, "ram_mib": "64Gi", "gpu": 4, "count": 2}]
        made = int(grace.post("/clusters", name="mark-1", nodes=nodes)["id"])
        grace.wait_for(grace.deploy("compiler", gpu=3), "running")
        yield made


def tab(page: Page, name: str) -> None:
    page.get_by_role("navigation", name="Flow-Matic").get_by_role("link", name=name).click()
    expect(page.get_by_role("heading", name=name, level=1)).to_be_visible()


def test_an_owner_invites_promotes_and_drains(
    cluster: int, sign_in: SignIn, screenshot: Screenshot
) -> None:
    grace = sign_in(OWNER)
    grace.goto("/my/organizations/")
    screenshot(grace, "organizations")
    grace.get_by_role("link", name="Flow-Matic").click()
    expect(grace.get_by_text("3 of 8 allocated, 5 free").first).to_be_visible()
    screenshot(grace, "organization")

    # She invites Edith with the link.
    tab(grace, "Members")
    screenshot(grace, "members")
    link = grace.get_by_label("Link").input_value()
    edith = sign_in(GUEST, first="/my/start/")
    screenshot(edith, "start")
    edith.goto(link)
    screenshot(edith, "join")
    edith.get_by_role("button", name="Join").click()
    expect(edith.get_by_text("You are now a developer of Flow-Matic.")).to_be_visible()
    edith.goto(f"/my/clusters/{cluster}/")
    expect(edith.get_by_role("link", name="compiler").first).to_be_visible()
    expect(edith.get_by_role("link", name="Drain…")).to_have_count(0)

    # She makes her an admin, and Edith drains the cluster.
    grace.reload()
    grace.get_by_role("link", name=f"Change role… of {GUEST}").click()
    grace.get_by_label("Role", exact=True).select_option("admin")
    screenshot(grace, "role")
    grace.get_by_label("Role", exact=True).select_option("admin")
    grace.get_by_role("button", name="Change the role").click()
    expect(grace.get_by_text(f"{GUEST} is now admin.")).to_be_visible()
    edith.reload()
    screenshot(edith, "member-cluster")
    edith.get_by_role("link", name="Drain…").first.click()
    expect(edith.get_by_role("link", name="compiler")).to_be_visible()
    screenshot(edith, "member-drain")
    edith.get_by_role("button", name="Drain: mark-1").click()
    expect(edith.get_by_role("heading", name="Drain", exact=False).first).to_be_visible()
    expect(edith.get_by_text("Started by edith")).to_be_visible()

    # The other pages.
    tab(grace, "Usage")
    expect(grace.get_by_role("row").filter(has_text=OWNER)).to_be_visible()
    screenshot(grace, "usage")
    tab(grace, "Settings")
    screenshot(grace, "organization-settings")
    for name in ("Add a registry", "Add a webhook"):
        grace.get_by_role("link", name=name).click()
        screenshot(grace, name.lower().replace(" ", "-"))
        grace.get_by_role("link", name="Go back").click()
    grace.get_by_role("link", name="Delete…").click()
    screenshot(grace, "delete-organization")


def test_a_token_is_shown_once(cluster: int, sign_in: SignIn, screenshot: Screenshot) -> None:
    page = sign_in(OWNER)
    page.goto("/my/tokens/new/")
    screenshot(page, "new-token")
    page.get_by_label("Name").fill("nightly")
    page.get_by_label("read: see").check()
    page.get_by_role("button", name="Create").click()
    text = page.get_by_label("Token nightly").input_value()
    assert text.startswith("hv_")
    expect(page.get_by_text(f"echo {text} | hv login")).to_be_visible()
    page.get_by_role("link", name="Continue").click()
    expect(page.get_by_role("row").filter(has_text="nightly")).to_contain_text(text[:9])
    expect(page.get_by_text(text)).to_have_count(0)
    screenshot(page, "tokens")
