"""GET /deployments/{id}/explain: why it waits, and why it is where it is."""

from datetime import timedelta

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from accounts.models import User
from clusters import services as cluster_services
from clusters.models import Cluster
from clusters.services import Capacity
from deployments import services
from deployments.dependencies import Wait
from deployments.models import Deployment, Status
from orgs.models import Event, Organization
from scheduling.cycle.run import run_cycle
from scheduling.insight.explain import explain
from scheduling.models import SchedulingCycle
from tests.fixtures.deployments import Bring, Submit
from tests.fixtures.people import ClientFor

KEYS = {
    "deployment", "status", "code", "reason", "since", "position", "queue_length", "waits_for",
    "clusters",
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


def test_one_without_room_is_told_what_is_missing_on_each_cluster(
    api: APIClient, acme: Organization, forge: Cluster, submit: Submit
) -> None:
    anvil = cluster_services.create(
        actor="alice", organization=acme, name="anvil", capacity=Capacity(4000, 16384, 0)
    )
    fill(acme, submit)
    waiting = submit(cpu_milli=1500, ram_mib=1024, gpu=2)

    told = explained(api, waiting)

    assert (told["code"], told["position"], told["queue_length"]) == ("no_free_capacity", 1, 1)
    assert "is short of 0.5 CPU, 640 MiB RAM, 1 GPU" in str(told["reason"])
    rows = {row["cluster"]: row for row in told["clusters"]}  # type: ignore[attr-defined]
    assert rows[forge.pk]["missing"] == {"cpu": 0.5, "ram_mib": 640, "gpu": 1}
    assert "forge" in rows[forge.pk]["why"]
    assert "too small by 2 GPU" in rows[anvil.pk]["why"]


def test_the_reason_is_the_one_that_the_last_cycle_wrote(
    api: APIClient, acme: Organization, submit: Submit
) -> None:
    fill(acme, submit)
    waiting = submit(cpu_milli=2000)
    cycle(acme)
    waiting.refresh_from_db()

    told = explained(api, waiting)

    assert told["reason"] == waiting.status_reason
    assert told["waits_for"] == [told["reason"]]
    assert told["since"] == waiting.queued_at.isoformat().replace("+00:00", "Z")


def test_the_position_counts_who_comes_before(
    api: APIClient, acme: Organization, submit: Submit
) -> None:
    fill(acme, submit)
    low, high, middle = (submit(cpu_milli=2000, priority=p) for p in (10, 30, 20))

    told = [explained(api, d) for d in (low, high, middle)]

    assert [(t["position"], t["queue_length"]) for t in told] == [(3, 3), (1, 3), (2, 3)]


def test_one_that_the_next_cycle_places_is_told_where(
    api: APIClient, forge: Cluster, submit: Submit
) -> None:
    told = explained(api, submit())

    assert (told["code"], told["reason"]) == ("next_cycle", "The next cycle places it on forge.")
    assert (told["waits_for"], told["clusters"]) == ([], [])


def test_one_that_asks_for_a_full_cluster_is_told_that_the_others_are_no_option(
    api: APIClient, acme: Organization, forge: Cluster, submit: Submit
) -> None:
    fill(acme, submit)
    anvil = cluster_services.create(
        actor="alice", organization=acme, name="anvil", capacity=Capacity(4000, 16384, 0)
    )

    told = explained(api, submit(cpu_milli=2000, requested_cluster=forge))

    rows = {row["cluster"]: row["why"] for row in told["clusters"]}  # type: ignore[attr-defined]
    assert "requests another cluster" in rows[anvil.pk]


@pytest.mark.parametrize(("steer", "word"), [("cordon", "cordoned"), ("drain", "draining")])
def test_one_whose_clusters_take_nothing_is_told_so(
    api: APIClient, forge: Cluster, submit: Submit, steer: str, word: str
) -> None:
    deployment = submit()
    getattr(cluster_services, steer)(forge, actor="alice")

    told = explained(api, deployment)

    assert told["code"] == f"cluster_{word}"
    assert f"{word}: forge" in str(told["reason"])


def test_one_that_a_shrunken_cluster_can_no_longer_hold_is_told_so(
    api: APIClient, forge: Cluster, submit: Submit
) -> None:
    deployment = submit(cpu_milli=8000)
    cluster_services.update(forge, actor="alice", name="forge", capacity=Capacity(4000, 16384, 2))

    told = explained(api, deployment)

    assert told["code"] == "exceeds_capacity"


def test_a_held_one_is_told_who_holds_it(api: APIClient, submit: Submit) -> None:
    deployment = submit()
    services.hold(deployment, actor="alice")

    told = explained(api, deployment)

    assert told["code"] == "held"
    assert told["waits_for"] == ["Held by alice: waits until it is released."]
    assert told["position"] is None


def test_one_with_dependencies_is_told_each_that_does_not_hold(
    api: APIClient, submit: Submit, bring: Bring
) -> None:
    done, first, second = bring(Status.COMPLETED), submit(), submit()
    deployment = submit(depends_on=tuple(Wait(d.pk) for d in (done, first, second)))

    told = explained(api, deployment)

    assert told["code"] == "dependency"
    assert told["waits_for"] == [
        f"Waits for deployment {d.pk} (job) to be completed; it is pending."
        for d in (first, second)
    ]


def test_one_in_back_off_is_told_when_it_competes_again(api: APIClient, submit: Submit) -> None:
    deployment = submit()
    until = timezone.now() + timedelta(seconds=90)
    Deployment.objects.update(ready_after=until, status_code="dependency")

    told = explained(api, deployment)

    assert told["code"] == "backoff"
    assert f"{until:%Y-%m-%d %H:%M:%S} UTC" in str(told["reason"])


def test_a_back_off_that_is_over_is_none(api: APIClient, submit: Submit) -> None:
    deployment = submit()
    Deployment.objects.update(ready_after=timezone.now() - timedelta(seconds=1))

    assert explained(api, deployment)["code"] == "next_cycle"


def test_one_that_was_preempted_by_hand_is_told_when_it_competes_again(
    api: APIClient, bring: Bring
) -> None:
    deployment = bring(Status.RUNNING)
    services.preempt(deployment, actor="olga")

    told = explained(api, deployment)

    assert told["code"] == "backoff"
    assert "repeatedly" not in str(told["reason"])


def test_a_placed_one_is_told_where_and_why(
    api: APIClient, acme: Organization, submit: Submit
) -> None:
    deployment = submit()
    cycle(acme)

    told = explained(api, deployment)

    assert (told["status"], told["code"]) == ("starting", "placed")
    assert "forge" in str(told["reason"])
    assert told["clusters"] == []


def test_one_that_took_anothers_room_is_told_so_even_when_it_runs(
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
def test_one_that_does_not_wait_is_told_the_event_that_led_there(
    api: APIClient, bring: Bring, status: Status, code: str
) -> None:
    deployment = bring(status)
    event = Event.objects.filter(subject_id=deployment.pk, status=status).latest("pk")

    told = explained(api, deployment)

    assert (told["status"], told["code"]) == (status, code)
    assert told["reason"] == "as the test wants it"
    assert told["since"] == event.time.isoformat().replace("+00:00", "Z")


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
    """The next plan suspends preemption for the first in the queue, which makes it the last."""
    submit(cpu_milli=8000, priority=10)
    run_cycle(acme.pk, SchedulingCycle.Trigger.CHANGE)
    preemptor = submit(cpu_milli=8000, priority=50)
    run_cycle(acme.pk, SchedulingCycle.Trigger.CHANGE)
    services.requeue(preemptor, actor="olga")
    services.hold(preemptor, actor="olga")
    run_cycle(acme.pk, SchedulingCycle.Trigger.CHANGE)
    services.release(preemptor, actor="olga")
    other = submit(cpu_milli=8000, priority=10)
    preemptor.refresh_from_db()

    announced = [explain(row).position for row in (other, preemptor)]
    cycle = run_cycle(acme.pk, SchedulingCycle.Trigger.CHANGE)
    assert cycle is not None
    assert cycle.suspended == 1
    for row in (other, preemptor):
        row.refresh_from_db()

    assert announced == [explain(row).position for row in (other, preemptor)] == [1, 2]
