"""When waiting deployments will probably start, as the API and the pages say it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from accounts.models import User
from clusters.models import Cluster
from deployments.choices import Status
from deployments.models import Deployment
from deployments.run_times import latest_run_times
from orgs.models import Organization
from scheduling.cycle.next_plan import plan_and_backlog
from scheduling.cycle.run import run_cycle
from scheduling.cycle.snapshot import load
from scheduling.insight import forecast as forecast_module
from scheduling.insight import wording
from scheduling.insight.forecast import Start, Starts
from scheduling.insight.standing import standings
from scheduling.models import SchedulingCycle
from scheduling.planner import forecast as planner_forecast
from scheduling.planner.forecast import Unknown
from tests.fixtures.deployments import Bring, Submit
from tests.fixtures.people import ClientFor

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def nothing_is_kept() -> None:
    forecast_module.forget_all()


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(NOON, tick=False) as traveller:
        yield traveller


@pytest.fixture
def api(bob: User, forge: Cluster, client_for: ClientFor) -> APIClient:
    return client_for(bob)


@pytest.fixture
def full(acme: Organization, forge: Cluster, submit: Submit) -> Deployment:
    """A deployment on all of the cluster."""
    row = submit(name="full", cpu_milli=8000, priority=90)
    cycle(acme)
    return row


def cycle(organization: Organization) -> None:
    run_cycle(organization.pk, SchedulingCycle.Trigger.CHANGE)


def ran(bring: Bring, *minutes: int) -> None:
    """Let Bob have ended deployments with these run times, the latest last."""
    for number, length in enumerate(minutes):
        row = bring(Status.COMPLETED, cpu_milli=1000)
        ended = NOON - timedelta(days=1) + timedelta(minutes=number)
        Deployment.objects.filter(pk=row.pk).update(
            finished_at=ended, started_at=ended - timedelta(minutes=length)
        )


def forecast_of(api: APIClient, deployment: Deployment) -> dict[str, Any]:
    return dict(api.get(f"/deployments/{deployment.pk}/explain").json()["forecast"])


def start_of(deployment: Deployment) -> Start | None:
    loaded = load(deployment.organization_id, lock=False)
    plan, backlog = plan_and_backlog(loaded)
    return Starts(loaded, plan, backlog).of(deployment.pk, plan.served.position(deployment.pk))


# -- what is expected --


def test_it_starts_when_the_past_of_the_user_says(
    api: APIClient, bring: Bring, full: Deployment, forge: Cluster, submit: Submit
) -> None:
    ran(bring, 10, 30, 50)
    waiting = submit(name="waiting", cpu_milli=8000)

    found = forecast_of(api, waiting)

    assert found == {
        "code": "expected",
        "reason": f"Probably starts in about 30 min (12:30 UTC) on forge, when full ({full.pk}) has"
        " ended. New submissions may change that.",
        "expected": "2030-01-01T12:30:00Z",
        "by": None,
        "cluster": forge.pk,
        "node": forge.nodes.get().pk,
        "waits_for": [{"deployment": full.pk, "name": "full"}],
    }


def test_limits_say_by_when_it_starts_at_the_latest(
    api: APIClient, acme: Organization, bring: Bring, forge: Cluster, submit: Submit
) -> None:
    ran(bring, 30)
    submit(name="full", cpu_milli=8000, priority=90, max_runtime_s=7200)
    cycle(acme)

    found = forecast_of(api, submit(cpu_milli=8000))

    assert (found["expected"], found["by"]) == ("2030-01-01T12:30:00Z", "2030-01-01T14:00:00Z")
    assert "; by 14:00 UTC if each runs as long as it may." in found["reason"]


def test_without_a_past_and_a_limit_there_is_none(
    api: APIClient, full: Deployment, submit: Submit
) -> None:
    found = forecast_of(api, submit(cpu_milli=8000))

    assert (found["code"], found["expected"], found["cluster"]) == (Unknown.ENDLESS, None, None)
    assert found["waits_for"] == [{"deployment": full.pk, "name": "full"}]
    assert found["reason"] == (
        f"No forecast: full ({full.pk}) on forge has to end first, but has no run time limit, and"
        " none of its user's deployments has ended yet."
    )


def test_one_that_starts_next_starts_now(api: APIClient, submit: Submit) -> None:
    found = forecast_of(api, submit(cpu_milli=8000))
    assert (found["expected"], found["reason"]) == (
        "2030-01-01T12:00:00Z",
        "The next cycle places it on forge.",
    )


def test_one_that_no_node_could_run_has_none(
    api: APIClient, forge: Cluster, full: Deployment, submit: Submit
) -> None:
    waiting = submit(cpu_milli=8000)
    forge.state = Cluster.State.CORDONED
    forge.save()
    found = forecast_of(api, waiting)
    assert (found["code"], found["reason"], found["waits_for"]) == (Unknown.NOWHERE, "", [])


def test_one_that_does_not_compete_has_none(
    api: APIClient, full: Deployment, submit: Submit
) -> None:
    held = submit(cpu_milli=8000)
    Deployment.objects.filter(pk=held.pk).update(held=True)
    for row in (held, full):
        assert api.get(f"/deployments/{row.pk}/explain").json()["forecast"] is None


def test_those_far_behind_cost_nothing(
    full: Deployment, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forecast_module, "MOST", 1)
    monkeypatch.setattr(forecast_module, "Forecasts", None)
    submit(cpu_milli=8000, priority=20)
    assert start_of(submit(cpu_milli=8000, priority=10)) == Start(Unknown.AHEAD)


def test_a_dry_run_says_when_it_would_start(api: APIClient, bring: Bring, full: Deployment) -> None:
    ran(bring, 30)
    body = {"name": "tried", "image": "busybox", "cpu": 8, "ram_mib": 1024}

    found = api.post("/deployments?dry_run=true", body).json()

    assert found["outcome"] == "wait"
    assert found["forecast"]["expected"] == "2030-01-01T12:30:00Z"
    assert not Deployment.objects.filter(name="tried").exists()


# -- the past --


def test_only_the_latest_of_the_user_in_the_organization_count(
    acme: Organization, bob: User, bring: Bring
) -> None:
    ran(bring, 10, 20, 30)
    bring(Status.CANCELLED)
    bring(Status.RUNNING)
    users = {acme.pk: {bob.pk, 0}, acme.pk + 1: {bob.pk}}
    assert latest_run_times(users, 2) == {(acme.pk, bob.pk): [1800, 1200]}


def test_an_index_has_the_run_times(acme: Organization, bob: User, bring: Bring) -> None:
    ran(bring, 10)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_bitmapscan = off")
        cursor.execute("SET LOCAL enable_sort = off")
    with CaptureQueriesContext(connection) as queries:
        latest_run_times({acme.pk: {bob.pk}}, 2)
    (statement,) = [query["sql"] for query in queries]
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN " + statement)
        assert "deployment_run_times" in str(cursor.fetchall())


# -- what is kept --


class Counted:
    """The forecasts, which count how often they are made."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self, *arguments: Any) -> planner_forecast.Forecasts:
        self.made += 1
        return planner_forecast.Forecasts(*arguments)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    counting = Counted()
    monkeypatch.setattr(forecast_module, "Forecasts", counting)
    return counting


@pytest.mark.django_db(transaction=True)
def test_it_is_made_once_for_a_plan(
    acme: Organization, bring: Bring, full: Deployment, submit: Submit, counted: Counted
) -> None:
    ran(bring, 30)
    rows = [submit(cpu_milli=8000, priority=p) for p in (10, 20)]
    cycle(acme)

    first = [start_of(row) for row in (*rows, *rows)]
    assert counted.made == 1
    assert first[0] == first[2]

    submit(cpu_milli=8000, priority=90)
    assert start_of(rows[0]) != first[0]
    assert counted.made == 2


@pytest.mark.django_db(transaction=True)
def test_it_is_made_again_after_a_while(
    acme: Organization, bring: Bring, full: Deployment, submit: Submit, counted: Counted,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    ran(bring, 30)
    waiting = submit(cpu_milli=8000, priority=10)
    cycle(acme)
    start_of(waiting)
    later = monotonic() + 61
    monkeypatch.setattr(forecast_module, "monotonic", lambda: later)
    start_of(waiting)
    assert counted.made == 2


def test_a_list_says_what_explain_says(
    api: APIClient, bring: Bring, full: Deployment, submit: Submit
) -> None:
    ran(bring, 30)
    rows = [submit(cpu_milli=8000, priority=p) for p in (10, 20)]
    found = standings(rows, timezone.now())
    for row in rows:
        start = found[row.pk].start
        assert start is not None
        assert start.expected is not None
        assert f"{start.expected:%Y-%m-%dT%H:%M:%SZ}" == forecast_of(api, row)["expected"]


# -- the words --


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (1, "in about 1 min (12:00 UTC)"),
        (170, "in about 3 min (12:03 UTC)"),
        (1_570, "in about 25 min (12:25 UTC)"),
        (7_500, "in about 2 h (14:00 UTC)"),
        (8_300, "in about 2 h 15 min (14:15 UTC)"),
        (41_000, "in about 11 h (23:00 UTC)"),
        (50_000, "in about 14 h (2030-01-02 02:00 UTC)"),
        (400_000, "in about 4 d 18 h (2030-01-06 06:00 UTC)"),
    ],
)
def test_times_are_as_exact_as_a_forecast_can_be(seconds: int, text: str) -> None:
    assert wording.about(NOON + timedelta(seconds=seconds)) == text


def test_few_are_named_and_the_others_counted() -> None:
    def named(count: int) -> str:
        return wording.forecast(NOON + timedelta(hours=1), None, "forge", list("abcdef")[:count])

    assert "when a has ended." in named(1)
    assert "when a and b have ended." in named(2)
    assert "when a, b, c and 2 more have ended." in named(5)
    assert "when" not in named(0)


def test_the_latest_time_is_rounded_up() -> None:
    text = wording.forecast(NOON + timedelta(hours=1), NOON + timedelta(seconds=3901), "forge", [])
    assert "by 13:15 UTC if" in text


@pytest.mark.parametrize("code", [Unknown.AHEAD, Unknown.FAR])
def test_it_says_why_there_is_none(code: Unknown) -> None:
    assert wording.no_forecast(code, "", []).startswith("No forecast: ")
