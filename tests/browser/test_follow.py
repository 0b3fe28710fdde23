"""Operators follow a deployment, a cycle, the events and the audit trail."""

from collections.abc import Iterator
from itertools import count

import pytest
from playwright.sync_api import Page, expect

from benchmarks.service import Service
from tests.support.browser import Screenshot
from tests.support.service import User

SOON_MS = 30_000
"""A cycle and a refresh of the page take much less than this."""

_numbers = count(1)


@pytest.fixture
def crew(service: Service) -> Iterator[User]:
    """A user with a separate organization and a cluster of 4 cores."""
    number = next(_numbers)
    with User.newcomer(service.url, f"cora-{number}", patience_s=10) as client:
        client.post("/organizations", name=f"Crew {number}")
        client.post("/clusters", name="deck", cpu=4, ram_mib="8Gi", gpu=0)
        yield client


def open_deployment(page: Page, deployment: int) -> None:
    page.goto(f"/admin/deployments/deployment/{deployment}/change/")


def organization(crew: User) -> int:
    return int(crew.list("/organizations")[0]["id"])


def test_a_preemption_appears_on_the_victims_page_without_a_reload(
    page: Page, crew: User, screenshot: Screenshot
) -> None:
    victim = crew.deploy("modest", cpu=4, priority=20)
    crew.wait_for(victim, "running")
    open_deployment(page, victim)
    page.evaluate("window.untouched = true")
    state = page.get_by_role("region", name="Present state")
    expect(state).to_contain_text("running")

    urgent = crew.deploy("urgent", cpu=3, priority=90)

    expect(state).to_contain_text("pending", timeout=SOON_MS)
    expect(state).to_contain_text("of 1 in the queue")
    missing = page.get_by_role("region", name="What is missing on each cluster")
    expect(missing.get_by_role("row").filter(has_text="deck")).to_contain_text("3 CPU")
    run = page.get_by_role("row").filter(has_text="evicted").filter(has_text="For urgent")
    expect(run).to_be_visible()
    assert page.evaluate("window.untouched")
    expect(page.locator("#announcer")).to_contain_text("modest is pending")
    screenshot(page, "deployment")

    run.get_by_role("link", name="urgent").click()
    expect(page.get_by_role("heading", name=f"Deployment {urgent}: urgent")).to_be_visible()


def test_an_action_begins_and_ends_at_the_deployments_page(page: Page, crew: User) -> None:
    running = crew.deploy("stubborn", cpu=1)
    crew.wait_for(running, "running")
    open_deployment(page, running)

    page.get_by_role("link", name="Stop…").click()
    page.get_by_role("button", name="Stop: stubborn").click()

    expect(page.get_by_text("stubborn: stopped.")).to_be_visible()
    state = page.get_by_role("region", name="Present state")
    expect(state).to_contain_text("stopped", timeout=SOON_MS)
    expect(page.get_by_role("link", name="Stop…")).to_have_count(0)

    page.get_by_role("link", name="Audit trail").last.click()
    entry = page.get_by_role("row").filter(has_text="running → stopping")
    expect(entry).to_contain_text("olga")


def test_a_failed_deployment_shows_the_end_of_its_output(
    page: Page, crew: User, screenshot: Screenshot
) -> None:
    failing = crew.deploy(
        "careless",
        env={
            "SIMULATE_RUN_SECONDS": "1",
            "SIMULATE_EXIT_CODE": "3",
            "SIMULATE_LOG": "reading shards\nValueError: shard 17 is damaged\n",
        },
    )
    crew.wait_for(failing, "failed")
    open_deployment(page, failing)

    state = page.get_by_role("region", name="Present state")
    expect(state).to_contain_text("exit code 3")
    expect(state).to_contain_text("ValueError: shard 17 is damaged", timeout=SOON_MS)
    screenshot(page, "deployment-failed")

    state.get_by_role("link", name="Logs").click()
    expect(page.get_by_role("log")).to_contain_text("reading shards")


def test_a_cycle_is_replayed_with_the_recorded_and_with_other_settings(
    page: Page, crew: User, screenshot: Screenshot
) -> None:
    crew.wait_for(crew.deploy("modest", cpu=4, priority=20), "running")
    crew.wait_for(crew.deploy("urgent", cpu=4, priority=90), "running")
    page.goto(f"/admin/orgs/organization/{organization(crew)}/change/")
    page.get_by_role("link", name="all cycles").click()
    page.get_by_role("row").filter(has_text="change").first.get_by_role("link").first.click()
    while page.get_by_role("link", name="Evicted 1").count() == 0:
        page.get_by_role("link", name="← Cycle").click()
        page.wait_for_load_state()

    expect(page.get_by_role("row").filter(has_text="modest")).to_contain_text("proved minimal")
    page.get_by_role("button", name="Plan again").click()
    expect(page.get_by_text("The planner decides the same for all")).to_be_visible()

    page.get_by_label("Min run (seconds)").fill("3600")
    page.get_by_role("button", name="Plan again").click()

    expect(page.get_by_text("The decision differs for 2 deployments.")).to_be_visible()
    changed = page.get_by_role("row").filter(has_text="stays")
    expect(changed).to_contain_text("evicted from deck")
    screenshot(page, "cycle")


def test_events_are_filtered_and_link_to_their_subjects(
    page: Page, crew: User, screenshot: Screenshot
) -> None:
    deployment = crew.deploy("recorded")
    crew.wait_for(deployment, "running")
    page.goto("/admin/orgs/event/")
    screenshot(page, "events")

    page.goto(f"/admin/orgs/event/?subject_id={deployment}&subject__exact=deployment")
    expect(page.get_by_role("row").filter(has_text="placed")).to_be_visible()
    page.get_by_role("link", name=f"deployment {deployment}").first.click()

    expect(page.get_by_role("heading", name=f"Deployment {deployment}: recorded")).to_be_visible()


def test_the_audit_trail_of_a_user_is_shown(page: Page, crew: User, screenshot: Screenshot) -> None:
    page.goto(f"/admin/orgs/organization/{organization(crew)}/change/?edit")
    page.locator("#id_name").fill("Crew renamed")
    page.get_by_role("button", name="Save", exact=True).click()

    page.goto("/admin/accounts/auditentry/?model=orgs.organization")

    entry = page.get_by_role("row").filter(has_text="→ Crew renamed")
    expect(entry).to_contain_text("olga")
    screenshot(page, "audit-trail")


def test_cycles_are_run_by_hand_after_a_preview(page: Page, crew: User) -> None:
    crew.wait_for(crew.deploy("full", cpu=4), "running")
    crew.deploy("waiting", cpu=4)
    page.goto(f"/admin/orgs/organization/{organization(crew)}/change/")

    page.get_by_role("link", name="Run a cycle…").click()
    expect(page.get_by_text("Nothing has happened yet")).to_be_visible()
    page.get_by_role("button", name="Run 1 cycle now").click()

    expect(page.get_by_text("0 placed, 0 evicted.")).to_be_visible()


def test_an_organization_looks_right_in_every_layout(
    page: Page, crew: User, screenshot: Screenshot
) -> None:
    crew.wait_for(crew.deploy("one", cpu=2), "running")
    page.goto(f"/admin/orgs/organization/{organization(crew)}/change/")

    expect(page.get_by_text("2 of 4 cores allocated, 2 free")).to_be_visible()
    screenshot(page, "organization")
