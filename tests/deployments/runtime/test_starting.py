"""Containers are started several at once; each start is recorded before its call."""

from collections.abc import Iterator

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from clusters.drivers.base import Cause, ContainerSpec, DriverError
from clusters.models import Cluster, SimulatedContainer
from deployments import lifecycle
from deployments.choices import Status
from deployments.lifecycle import Change, transition
from deployments.models import Deployment
from deployments.runtime import reconcile as reconciling
from deployments.runtime.models import Run
from tests.fixtures.deployments import Submit
from tests.support.fake_engine import FakeDriver, FakeEngine
from tests.support.locks import held
from tests.support.reconcile import reconcile

pytestmark = pytest.mark.django_db

DOWN = DriverError("no route to host", retriable=True, cause=Cause.UNREACHABLE)


def statuses() -> list[str]:
    return list(Deployment.objects.order_by("pk").values_list("status", flat=True))


def submit_and_place(cluster: Cluster, submit: Submit, count: int) -> None:
    rows = [submit(cpu_milli=1, ram_mib=1) for _ in range(count)]
    changes = [Change(row.pk, "placed", cluster=cluster.pk) for row in rows]
    transition(lifecycle.PLACE, changes, actor="system:test", now=timezone.now())


def answers(monkeypatch: pytest.MonkeyPatch, found: dict[str, DriverError]) -> None:
    """Let the engine answer the starts of containers with these images with an error."""
    original = FakeDriver.start

    def start(self: FakeDriver, spec: ContainerSpec, *rest: object) -> None:
        if error := found.get(spec.image):
            raise error
        original(self, spec, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(FakeDriver, "start", start)


def test_the_number_of_statements_does_not_grow_with_the_number_of_starts(
    forge: Cluster, submit: Submit
) -> None:
    counts = []
    for count in (2, 40):
        submit_and_place(forge, submit, count)
        with CaptureQueriesContext(connection) as queries:
            reconcile(forge.pk)
        counts.append(len(queries))

    assert set(statuses()) == {Status.RUNNING}
    assert SimulatedContainer.objects.count() == 42
    assert counts[0] == counts[1]


def test_only_the_starts_of_the_present_call_are_recorded(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    """A worker that dies leaves no other run in doubt."""
    for _ in range(4):
        place()
    recorded = []

    def count() -> None:
        recorded.append(Run.objects.launched().count())
        engine.interruptions["start"] = count

    engine.interruptions["start"] = count
    reconcile(foundry.pk)

    assert recorded == [3, 3, 3, 4]
    assert engine.batches == [3, 1]


def test_a_refusal_does_not_affect_the_other_starts_of_its_call(
    foundry: Cluster, engine: FakeEngine, place: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = DriverError("no such image", retriable=False, cause=Cause.IMAGE_NOT_FOUND)
    full = DriverError("the disk is full", retriable=True)
    answers(monkeypatch, {"gone": gone, "full": full})
    place(image="gone")
    place(image="full")
    place()

    reconcile(foundry.pk)

    assert statuses() == [Status.FAILED, Status.STARTING, Status.RUNNING]
    assert [run.launched_at is None for run in Run.objects.all()] == [True, True, False]
    waiting = Deployment.objects.get(status=Status.STARTING)
    assert "tried again: the disk is full" in waiting.status_reason


def test_every_container_is_started_once_although_the_engine_vanishes_during_a_call(
    foundry: Cluster, engine: FakeEngine, place: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    for image in ("a:1", "lost", "b:1", "c:1"):
        place(image=image)
    with monkeypatch.context() as until_it_is_back:
        answers(until_it_is_back, {"lost": DOWN})
        reconcile(foundry.pk)

    assert [spec.image for spec in engine.starts] == ["a:1", "b:1"]
    assert [run.launched_at is not None for run in Run.objects.all()] == [True, True, True, False]
    lost = Run.objects.get(deployment__image="lost").container

    reconcile(foundry.pk)

    assert statuses() == [Status.RUNNING] * 4
    assert sorted(spec.image for spec in engine.starts) == ["a:1", "b:1", "c:1", "lost"]
    assert lost in engine.by_uid


def test_a_pass_does_not_start_containers_for_long(
    foundry: Cluster, engine: FakeEngine, place: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciling, "_LAUNCH_S", -1)
    for _ in range(5):
        place()
    running: list[int] = []
    observe = FakeDriver.observe

    def count(self: FakeDriver, now: object) -> object:
        running.append(statuses().count(Status.RUNNING))
        return observe(self, now)  # type: ignore[arg-type]

    monkeypatch.setattr(FakeDriver, "observe", count)

    reconcile(foundry.pk)

    assert running == [0, 0, 3]
    assert statuses() == [Status.RUNNING] * 5


@pytest.fixture
def impatient() -> Iterator[None]:
    """Let no statement wait for a lock."""
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '10ms'")
        yield
        cursor.execute("RESET lock_timeout")


@pytest.mark.django_db(transaction=True)
def test_a_run_that_another_transaction_changes_is_started_by_a_later_pass(
    foundry: Cluster, engine: FakeEngine, place: Submit, impatient: None
) -> None:
    """Waiting for it could end in a deadlock, because runs have no order in which to be locked."""
    contested, _ = place(), place()

    with held("deployments_run", contested.runs.get().pk):
        reconcile(foundry.pk)
        assert statuses() == [Status.STARTING, Status.RUNNING]
        assert contested.runs.get().launched_at is None
    reconcile(foundry.pk)

    assert statuses() == [Status.RUNNING] * 2
    assert len(engine.starts) == 2


def test_a_deployment_that_is_deleted_while_its_start_is_recorded_is_not_started(
    foundry: Cluster, engine: FakeEngine, place: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    place()
    monkeypatch.setattr(Deployment.objects, "in_bulk", lambda ids: {})

    reconcile(foundry.pk)

    assert engine.starts == []
