"""Members on their pages: they submit, wait, evict, follow logs, and learn who evicted whom."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import pytest
from playwright.sync_api import Locator, Page, expect

from benchmarks.service import Service
from tests.browser.conftest import SignIn
from tests.support.browser import Screenshot
from tests.support.service import User

SOON_MS = 30_000
"""A cycle and a refresh of the page take much less than this."""

_numbers = count(1)


@dataclass(frozen=True, slots=True)
class Team:
    """Ada owns an organization with a cluster of 4 cores, of which Bert is a developer."""

    ada: str
    bert: str
    developer: User


@pytest.fixture
def team(service: Service) -> Iterator[Team]:
    number = next(_numbers)
    ada, bert = f"ada-{number}", f"bert-{number}"
    with User.newcomer(service.url, ada, patience_s=10) as owner:
        made = owner.post("/organizations", name=f"Story {number}")
        owner.post("/clusters", name="deck", cpu=4, ram_mib="8Gi", gpu=0)
    with User.newcomer(service.url, bert, patience_s=10) as developer:
        developer.post("/join-organization", invite_code=made["invite_code"])
        yield Team(ada, bert, developer)


def fill(page: Page, name: str, cpu: str, **fields: str) -> None:
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("Image").fill("ml/train:1")
    page.get_by_label("CPU").fill(cpu)
    for label, value in fields.items():
        page.get_by_label(label.replace("_", " "), exact=True).fill(value)


def outcome(page: Page) -> Locator:
    return page.get_by_role("region", name="What would happen now")


def state(page: Page) -> Locator:
    return page.get_by_role("region", name="Present state")


def test_two_members_share_a_cluster(team: Team, sign_in: SignIn, screenshot: Screenshot) -> None:
    bert = sign_in(team.bert)
    expect(bert.get_by_text("You have not submitted a deployment yet.")).to_be_visible()
    screenshot(bert, "portal-empty")
    bert.get_by_role("link", name="Submit a deployment").click()

    fill(bert, "modest", "4", Priority="20")
    expect(outcome(bert)).to_contain_text("Would start now on deck, evicting nobody.")
    bert.get_by_role("button", name="Submit").click()
    expect(bert.get_by_role("heading", name="modest", level=1)).to_be_visible()
    expect(state(bert)).to_contain_text("running", timeout=SOON_MS)

    ada = sign_in(team.ada)
    ada.get_by_role("link", name="Submit", exact=True).click()
    fill(ada, "urgent", "4", Priority="10")
    expect(outcome(ada)).to_contain_text("Would wait at place 1 of 1 in the queue.")
    ada.get_by_label("Priority").fill("80")
    expect(outcome(ada)).to_contain_text("Would start now on deck, evicting 1 deployment.")
    expect(outcome(ada)).to_contain_text("modest priority 20, loses")
    ada.get_by_label("Priority").fill("10")
    expect(outcome(ada)).to_contain_text("Would wait")
    ada.get_by_role("button", name="Submit").click()
    expect(state(ada)).to_contain_text("1 of 1 in the queue")
    expect(ada.get_by_role("region", name="What is missing on each cluster")).to_contain_text(
        "4 CPU"
    )
    screenshot(ada, "portal-pending")

    ada.get_by_role("link", name="Change priority").click()
    ada.get_by_label("New priority").fill("90")
    ada.get_by_role("button", name="Preview").click()
    victims = ada.get_by_role("region", name="Would be evicted")
    expect(victims.get_by_role("link", name="modest")).to_be_visible()
    screenshot(ada, "portal-preview")
    ada.get_by_role("button", name="Change priority: urgent").click()
    expect(ada.get_by_text("urgent: given another priority.")).to_be_visible()
    expect(state(ada)).to_contain_text("running", timeout=SOON_MS)

    expect(state(bert)).to_contain_text("1 of 1 in the queue", timeout=SOON_MS)
    run = bert.get_by_role("row").filter(has_text="evicted").filter(has_text="For urgent")
    expect(run).to_contain_text(f"priority 90, submitted by {team.ada}")
    screenshot(bert, "portal-evicted")

    run.get_by_role("link", name="logs").click()
    expect(bert.get_by_role("log")).to_contain_text("simulated container")
    with bert.expect_download() as download:
        bert.get_by_role("link", name="Download").click()
    assert b"simulated container" in download.value.path().read_bytes()
    screenshot(bert, "portal-logs")

    bert.get_by_role("link", name="Queue", exact=True).click()
    line = bert.get_by_role("row").filter(has_text="modest")
    expect(line).to_contain_text("yours")
    screenshot(bert, "portal-queue")
    bert.get_by_role("link", name="On a cluster").click()
    expect(bert.get_by_role("row").filter(has_text="urgent")).to_contain_text("deck")

    bert.get_by_role("link", name="Deployments", exact=True).click()
    expect(bert.get_by_role("row").filter(has_text="modest")).to_contain_text("1 of 1")
    expect(bert.get_by_role("row").filter(has_text="urgent")).to_be_hidden()
    bert.get_by_label("Whose").select_option("Everybody's")
    bert.get_by_role("button", name="Filter").click()
    expect(bert.get_by_role("row").filter(has_text="urgent")).to_contain_text("running")
    screenshot(bert, "portal-list")


def test_who_waits_sees_when_it_will_probably_start(
    team: Team, sign_in: SignIn, screenshot: Screenshot
) -> None:
    job = {"image": "ml/train:1", "cpu": 4, "ram_mib": 1024}
    team.developer.post("/deployments", name="long", max_runtime_s=7200, **job)
    team.developer.post("/deployments", name="next", max_runtime_s=3600, **job)

    bert = sign_in(team.bert)
    row = bert.get_by_role("row").filter(has_text="next")
    expect(row).to_contain_text("starts about", timeout=SOON_MS)
    screenshot(bert, "portal-forecasts")
    row.get_by_role("link", name="next").click()
    expect(state(bert)).to_contain_text("Probably starts in about 2 h (")
    expect(state(bert)).to_contain_text("on deck, when long (")

    bert.get_by_role("link", name="Submit", exact=True).click()
    fill(bert, "last", "4")
    expect(outcome(bert)).to_contain_text(
        "Would wait at place 2 of 2 in the queue; probably starts"
    )
    expect(outcome(bert)).to_contain_text("Probably starts in about 3 h (")


def test_a_submission_without_javascript(
    team: Team, sign_in: SignIn, screenshot: Screenshot
) -> None:
    page = sign_in(team.bert, javascript=False)
    page.goto("/my/submit/")
    fill(page, "plain", "2", Command="python 'train all.py'")
    page.get_by_text("More: cluster").click()
    page.get_by_label("Labels").fill("no equals sign")

    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_label("Labels")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("Labels")).to_have_value("no equals sign")
    page.get_by_label("Labels").fill("team=vision")
    page.get_by_role("button", name="Preview").click()

    expect(outcome(page)).to_contain_text("Would start now on deck, evicting nobody.")
    expect(page.get_by_label("Command")).to_have_value("python 'train all.py'")
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("heading", name="plain", level=1)).to_be_visible()
    expect(page.get_by_text("team=vision")).to_be_visible()


def test_a_submission_by_keyboard_alone(team: Team, sign_in: SignIn) -> None:
    page = sign_in(team.bert)

    press_on(page, page.get_by_role("link", name="Submit", exact=True))
    type_into(page, page.get_by_label("Name", exact=True), "typed")
    type_into(page, page.get_by_label("Image"), "ml/train:1")
    expect(outcome(page)).to_contain_text("Would start now on deck")
    more = page.locator("summary")
    press_on(page, more)
    type_into(page, page.get_by_label("Labels"), "team=vision")
    press_on(page, page.get_by_role("button", name="Submit"))
    expect(page.get_by_role("heading", name="typed", level=1)).to_be_visible()
    expect(state(page)).to_contain_text("running", timeout=SOON_MS)

    press_on(page, page.get_by_role("link", name="Stop"))
    press_on(page, page.get_by_role("button", name="Stop: typed"))

    expect(page.get_by_text("typed: stopped.")).to_be_visible()


def test_another_deployment_like_this_one(
    team: Team, sign_in: SignIn, screenshot: Screenshot
) -> None:
    first = team.developer.deploy("first", cpu=1, env={"EPOCHS": "40"}, labels={"team": "vision"})
    page = sign_in(team.bert)
    page.goto(f"/my/deployments/{first}/")

    page.get_by_role("link", name="Submit another like this").click()

    expect(page.get_by_label("Environment")).to_have_value("EPOCHS=40")
    expect(outcome(page)).to_contain_text("Would start now on deck")
    screenshot(page, "portal-submit")
    page.get_by_label("Name", exact=True).fill("second")
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("heading", name="second", level=1)).to_be_visible()


def test_a_change_of_the_form_gives_up_the_preview_before(team: Team, sign_in: SignIn) -> None:
    page = sign_in(team.bert)
    page.goto("/my/submit/")
    # The first preview never comes back.
    page.route("**/my/submit/", lambda route: None, times=1)
    with page.expect_request("**/my/submit/"):
        fill(page, "slow", "1")

    with page.expect_event("requestfailed") as given_up:
        page.get_by_label("Priority").fill("60")

    assert given_up.value.failure == "net::ERR_ABORTED"
    expect(outcome(page)).to_contain_text("Would start now on deck")


def test_a_person_who_was_signed_out_keeps_what_was_typed(team: Team, sign_in: SignIn) -> None:
    page = sign_in(team.bert)
    page.goto("/my/submit/")
    page.context.clear_cookies(name=re.compile("session"))

    fill(page, "typed", "1")

    expect(outcome(page)).to_contain_text("You are signed out")
    expect(page.get_by_label("Name", exact=True)).to_have_value("typed")


def focus(page: Page, wanted: Locator) -> None:
    """Press Tab until the element has the focus."""
    for _ in range(80):
        if wanted.evaluate("element => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"The keyboard does not reach {wanted}.")


def press_on(page: Page, wanted: Locator) -> None:
    expect(wanted).to_be_visible()
    focus(page, wanted)
    page.keyboard.press("Enter")


def type_into(page: Page, wanted: Locator, text: str) -> None:
    expect(wanted).to_be_visible()
    focus(page, wanted)
    page.keyboard.type(text)
