"""GET /deployments/{id}/explain: why a deployment is in its state."""

from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
import time_machine
from django.db import connection
from django.utils import timezone
from rest_framework.test import APIClient

from accounts.models import User
from clusters import services as cluster_services
from clusters.capacity import Capacity
from clusters.models import Cluster
from deployments import services
from deployments.choices import Status
from deployments.dependencies import Wait
from deployments.models import Deployment
from orgs.models import Event, Organization
from scheduling.cycle.run import run_cycle
from scheduling.insight.explain import explain
from scheduling.models import SchedulingCycle
from scheduling.tasks import refresh_reasons
from tests.fixtures.deployments import Bring, Submit
from tests.fixtures.people import ClientFor
from tests.support.preemption import preempt_in_vain

KEYS = {
    "deployment", "status", "code", "reason", "since", "position", "queue_length", "waits_for",
    "clusters", "turn", "ahead", "evictions", "moves", "forecast",
}  # fmt: skip


@pytest.fixture
def api(bob: User, forge: Cluster, client_for: ClientFor) -> APIClient:
    return client_for(bob)


def explained(api: APIClient, deployment: Deployment) -> dict[str, object]:
    response = api.get(f"/deployments/{deployment.pk}/explain")
    assert response.status_code == 200
    assert set(response.data) == KEYS
    return dict(response.json())


def cycle(organization: Organization) -> None:
    run_cycle(organization.pk, SchedulingCycle.Trigger.CHANGE)


def fill(organization: Organization, submit: Submit) -> Deployment:
    holder = submit(cpu_milli=7000, ram_mib=16000, gpu=1, priority=90)
    cycle(organization)
    return holder


def test_what_is_missing_on_each_cluster_is_listed(
    api: APIClient, acme: Organization, forge: Cluster, submit: Submit
) -> None:
    anvil = cluster_services.create(
        actor="alice", organization=acme, name="anvil", capacity=Capacity(4000, 16384, 0)
    )
    fill(acme, submit)
    waiting = submit(cpu_milli=1500, ram_mib=1024, gpu=2)

    explanation = explained(api, waiting)

    assert (explanation["code"], explanation["position"], explanation["queue_length"]) == (
        "no_free_capacity",
        1,
        1,
    )
    assert "is short of 0.5 CPU, 640 MiB RAM, 1 GPU" in str(explanation["reason"])
    rows = {row["cluster"]: row for row in explanation["clusters"]}  # type: ignore[attr-defined]
    assert rows[forge.pk]["missing"] == {"cpu": 0.5, "ram_mib": 640, "gpu": 1}
    assert "forge" in rows[forge.pk]["why"]
    assert "too small by 2 GPU" in rows[anvil.pk]["why"]


def test_a_deployment_that_has_waited_too_long_learns_when_its_turn_is(
    api: APIClient, acme: Organization, submit: Submit
) -> None:
    noon = datetime(2100, 1, 1, 12, tzinfo=UTC)
    with time_machine.travel(noon - timedelta(minutes=20), tick=False):
        fill(acme, submit)
        waiting = submit(cpu_milli=2000)
        cycle(acme)
        waiting.refresh_from_db()
        assert explained(api, waiting)["turn"] is None
    # A quarter of the capacity that is reserved for a tenth of 15 minutes lasts for 6 minutes.
    with time_machine.travel(noon - timedelta(minutes=1), tick=False):
        before = explained(api, waiting)
    with time_machine.travel(noon + timedelta(minutes=1), tick=False):
        during = explained(api, waiting)

    assert before["turn"] == {"begins": "2100-01-01T12:00:00Z", "ends": None}
    assert before["reason"] == waiting.status_reason
    assert during["turn"] == {"begins": None, "ends": "2100-01-01T12:06:00Z"}
    assert str(during["reason"]).endswith("capacity on forge is reserved for it.")


def test_the_reason_is_the_one_that_the_last_cycle_wrote(
    api: APIClient, acme: Organization, submit: Submit
) -> None:
    fill(acme, submit)
    waiting = submit(cpu_milli=2000)
    cycle(acme)
    waiting.refresh_from_db()

    explanation = explained(api, waiting)

    assert explanation["reason"] == waiting.status_reason
    assert explanation["waits_for"] == [explanation["reason"]]
    assert explanation["since"] == waiting.queued_at.isoformat().replace("+00:00", "Z")


def test_the_position_counts_the_deployments_before_it(
    api: APIClient, acme: Organization, submit: Submit
) -> None:
    fill(acme, submit)
    low, high, middle = (submit(cpu_milli=2000, priority=p) for p in (10, 30, 20))

    explanation = [explained(api, d) for d in (low, high, middle)]

    assert [(t["position"], t["queue_length"]) for t in explanation] == [(3, 3), (1, 3), (2, 3)]


def test_the_first_deployments_ahead_are_named_and_all_are_counted(
    api: APIClient, acme: Organization, submit: Submit
) -> None:
    fill(acme, submit)
    ahead = [submit(cpu_milli=2000, priority=80 - n, name=f"job-{n}") for n in range(7)]
    last = submit(cpu_milli=2000, priority=1)

    assert explained(api, ahead[0])["ahead"] == {"count": 0, "first": []}
    assert explained(api, last)["ahead"] == {
        "count": 7,
        "first": [{"deployment": d.pk, "name": d.name, "priority": d.priority} for d in ahead[:5]],
    }


def test_those_that_the_next_cycle_evicts_or_moves_for_it_are_named(
    api: APIClient, acme: Organization, submit: Submit
) -> None:
    victim = submit(cpu_milli=6000, priority=10, name="victim")
    mover = submit(cpu_milli=2000, priority=10, name="mover")
    cycle(acme)
    anvil = cluster_services.create(
        actor="alice", organization=acme, name="anvil", capacity=Capacity(2000, 4096, 0)
    )
    began = timezone.now() - timedelta(minutes=10)
    Deployment.objects.filter(pk__in=[victim.pk, mover.pk]).update(placed_at=began)
    preemptor, other = submit(cpu_milli=8000, priority=90), submit(cpu_milli=8000, priority=1)

    explanation = explained(api, preemptor)

    (eviction,) = cast("list[dict[str, Any]]", explanation["evictions"])
    (move,) = cast("list[dict[str, Any]]", explanation["moves"])
    assert (eviction["deployment"], eviction["name"]) == (victim.pk, "victim")
    assert 600 <= eviction["lost_s"] < 660
    assert (move["deployment"], move["name"], move["target"]) == (mover.pk, "mover", anvil.pk)
    assert (explained(api, other)["evictions"], explained(api, other)["moves"]) == ([], [])


def test_a_deployment_that_the_next_cycle_places_gets_its_cluster(
    api: APIClient, forge: Cluster, submit: Submit
) -> None:
    explanation = explained(api, submit())

    assert (explanation["code"], explanation["reason"]) == (
        "next_cycle",
        "The next cycle places it on forge.",
    )
    assert (explanation["waits_for"], explanation["clusters"]) == ([], [])


def test_a_request_for_a_full_cluster_rules_out_the_other_clusters(
    api: APIClient, acme: Organization, forge: Cluster, submit: Submit
) -> None:
    fill(acme, submit)
    anvil = cluster_services.create(
        actor="alice", organization=acme, name="anvil", capacity=Capacity(4000, 16384, 0)
    )

    explanation = explained(api, submit(cpu_milli=2000, requested_cluster=forge))

    rows = {row["cluster"]: row["why"] for row in explanation["clusters"]}  # type: ignore[attr-defined]
    assert "requests another cluster" in rows[anvil.pk]


@pytest.mark.parametrize(("verb", "word"), [("cordon", "cordoned"), ("drain", "draining")])
def test_closed_clusters_are_the_reason(
    api: APIClient, forge: Cluster, submit: Submit, verb: str, word: str
) -> None:
    deployment = submit()
    getattr(cluster_services, verb)(forge, actor="alice")

    explanation = explained(api, deployment)

    assert explanation["code"] == f"cluster_{word}"
    assert f"{word}: forge" in str(explanation["reason"])


def test_a_cluster_that_has_become_too_small_is_the_reason(
    api: APIClient, forge: Cluster, submit: Submit
) -> None:
    deployment = submit(cpu_milli=8000)
    cluster_services.update(forge, actor="alice", name="forge", capacity=Capacity(4000, 16384, 2))

    explanation = explained(api, deployment)

    assert explanation["code"] == "exceeds_capacity"


def test_a_hold_names_its_operator(api: APIClient, submit: Submit) -> None:
    deployment = submit()
    services.hold(deployment, actor="alice")

    explanation = explained(api, deployment)

    assert explanation["code"] == "held"
    assert explanation["waits_for"] == ["Held by alice: waits until it is released."]
    assert explanation["position"] is None


def test_each_unmet_dependency_is_listed(api: APIClient, submit: Submit, bring: Bring) -> None:
    done, first, second = bring(Status.COMPLETED), submit(), submit()
    deployment = submit(depends_on=tuple(Wait(d.pk) for d in (done, first, second)))

    explanation = explained(api, deployment)

    assert explanation["code"] == "dependency"
    assert explanation["waits_for"] == [
        f"Waits for deployment {d.pk} (job) to be completed; it is pending."
        for d in (first, second)
    ]


def test_a_back_off_shows_when_it_ends(api: APIClient, submit: Submit) -> None:
    deployment = submit()
    until = timezone.now() + timedelta(seconds=90)
    Deployment.objects.update(ready_after=until, status_code="dependency")

    explanation = explained(api, deployment)

    assert explanation["code"] == "backoff"
    assert f"{until:%Y-%m-%d %H:%M:%S} UTC" in str(explanation["reason"])


def test_a_back_off_that_is_over_is_not_the_reason(api: APIClient, submit: Submit) -> None:
    deployment = submit()
    Deployment.objects.update(ready_after=timezone.now() - timedelta(seconds=1))

    assert explained(api, deployment)["code"] == "next_cycle"


def test_the_back_off_after_an_operators_preemption_shows_when_it_ends(
    api: APIClient, bring: Bring
) -> None:
    deployment = bring(Status.RUNNING)
    services.preempt(deployment, actor="olga")

    explanation = explained(api, deployment)

    assert explanation["code"] == "backoff"
    assert "repeatedly" not in str(explanation["reason"])


def test_a_placed_deployment_shows_its_cluster_and_the_reason(
    api: APIClient, acme: Organization, submit: Submit
) -> None:
    deployment = submit()
    cycle(acme)

    explanation = explained(api, deployment)

    assert (explanation["status"], explanation["code"]) == ("starting", "placed")
    assert "forge" in str(explanation["reason"])
    assert explanation["clusters"] == []


def test_a_running_preemptor_still_shows_its_preemption(
    api: APIClient, acme: Organization, submit: Submit
) -> None:
    submit(cpu_milli=8000, priority=10)
    cycle(acme)
    preemptor = submit(cpu_milli=8000, priority=90)

    cycle(acme)

    assert "by preempting 1 deployment below priority 90" in str(
        explained(api, preemptor)["reason"]
    )


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (Status.RUNNING, "running"), (Status.STOPPING, "stop_requested"),
        (Status.COMPLETED, "completed"), (Status.FAILED, "failed"), (Status.STOPPED, "stopped"),
        (Status.CANCELLED, "cancelled"),
    ],
)  # fmt: skip
def test_a_deployment_that_does_not_wait_is_explained_by_its_last_event(
    api: APIClient, bring: Bring, status: Status, code: str
) -> None:
    deployment = bring(status)
    event = Event.objects.filter(subject_id=deployment.pk, status=status).latest("pk")

    explanation = explained(api, deployment)

    assert (explanation["status"], explanation["code"]) == (status, code)
    assert explanation["reason"] == "as the test wants it"
    assert explanation["since"] == event.time.isoformat().replace("+00:00", "Z")


def test_explaining_changes_nothing(api: APIClient, acme: Organization, submit: Submit) -> None:
    deployment = submit()
    before = (deployment.revision, Event.objects.count(), SchedulingCycle.objects.count())

    explained(api, deployment)

    deployment.refresh_from_db()
    after = (deployment.revision, Event.objects.count(), SchedulingCycle.objects.count())
    assert after == before


def test_the_position_is_the_one_that_the_next_cycle_serves(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    """The next plan suspends preemption for the first of a level, which makes it the last."""
    anvil = cluster_services.create(
        actor="alice", organization=acme, name="anvil", capacity=Capacity(8000, 16384, 2)
    )
    submit(cpu_milli=8000, priority=50, requested_cluster=anvil)
    submit(cpu_milli=8000, priority=10)
    run_cycle(acme.pk, SchedulingCycle.Trigger.CHANGE)
    preemptor = submit(cpu_milli=8000, priority=50)
    run_cycle(acme.pk, SchedulingCycle.Trigger.CHANGE)
    preempt_in_vain(preemptor)
    other = submit(cpu_milli=8000, priority=50, requested_cluster=anvil)
    preemptor.refresh_from_db()

    announced = [explain(row).position for row in (other, preemptor)]
    cycle = run_cycle(acme.pk, SchedulingCycle.Trigger.CHANGE)
    assert cycle is not None
    assert cycle.suspended == 1
    for row in (other, preemptor):
        row.refresh_from_db()

    assert announced == [explain(row).position for row in (other, preemptor)] == [1, 2]


def by_sql(deployment: Deployment, assigned: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE deployments_deployment SET {assigned} WHERE id = %s", [deployment.pk]
        )
    deployment.refresh_from_db()


def test_what_sql_changed_is_explained_at_once(submit: Submit, forge: Cluster) -> None:
    submit(gpu=2, priority=90)
    waits = submit(gpu=2, priority=50)
    run_cycle(forge.organization_id, SchedulingCycle.Trigger.CHANGE)
    waits.refresh_from_db()

    by_sql(waits, "held = true")
    assert explain(waits).reason == "Held: waits until it is released."
    by_sql(waits, "held = false, priority = 40")
    assert "at priority 40" in explain(waits).reason
    by_sql(waits, "priority = 95")
    assert explain(waits).code == "next_cycle"


def test_the_stored_reason_follows_what_sql_held_and_released(
    submit: Submit, forge: Cluster
) -> None:
    held, released = submit(), submit()
    services.hold(released, actor="olga")
    by_sql(held, "held = true")
    by_sql(released, "held = false, ready_after = now() + interval '1 hour'")

    refresh_reasons()

    held.refresh_from_db()
    released.refresh_from_db()
    assert (held.status_code, held.status_reason) == ("held", "Held: waits until it is released.")
    assert released.status_code == "backoff"
    assert released.status_reason.startswith("In back-off: competes again at ")
