"""What is deleted of the history once it is older than the settings allow, and what stays."""

from collections.abc import Callable, Collection
from datetime import timedelta

import pytest
import time_machine
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from accounts.models import AuditEntry
from clusters.models import Cluster
from deployments import lifecycle, retention
from deployments.choices import ENDED, Status
from deployments.dependencies import Wait
from deployments.lifecycle import Change, transition
from deployments.logs.models import RunOutput
from deployments.models import Deployment
from deployments.runtime.models import AbandonedContainer, Run
from hypervisor.base import purging
from orgs.models import Event
from scheduling.insight.verify import violations
from tests.fixtures.deployments import Bring, Submit
from tests.support.locks import held

LONG_AGO = timedelta(days=40)

Past = Callable[..., Deployment]


@pytest.fixture(autouse=True)
def thirty_days(settings: Settings) -> None:
    settings.DEPLOYMENT_HISTORY_DAYS = settings.EVENT_HISTORY_DAYS = 30


@pytest.fixture
def past(bring: Bring) -> Past:
    """A deployment that has been in its status for 40 days; its container is gone if it ended."""

    def bring_one(status: Status = Status.COMPLETED, **fields: object) -> Deployment:
        with time_machine.travel(timezone.now() - LONG_AGO):
            deployment = bring(status, **fields)
            deployment.runs.update(launched_at=timezone.now())
            if status in ENDED:
                deployment.runs.update(ended_at=timezone.now())
        return deployment

    return bring_one


def purge_ended() -> int:
    return retention.purge_ended(timezone.now())


def purge_events() -> int:
    return retention.purge_events(timezone.now())


def left() -> set[int]:
    return set(Deployment.objects.values_list("pk", flat=True))


@pytest.mark.django_db
def test_old_ended_deployments_go_with_their_runs_and_output(past: Past, bring: Bring) -> None:
    old, recent = past(), bring(Status.COMPLETED)
    RunOutput.objects.create(run=old.runs.get(), text=b"done\n")
    entries = AuditEntry.objects.count()

    assert purge_ended() == 1

    assert left() == {recent.pk}
    assert list(Run.objects.values_list("deployment", flat=True)) == [recent.pk]
    assert not RunOutput.objects.exists()
    assert AuditEntry.objects.count() == entries  # the trail is of what people do
    assert not AbandonedContainer.objects.exists()
    assert list(violations()) == []


@pytest.mark.django_db
def test_without_a_limit_every_deployment_is_kept(past: Past, settings: Settings) -> None:
    settings.DEPLOYMENT_HISTORY_DAYS = 0
    old = past()

    assert purge_ended() == 0
    assert left() == {old.pk}


@pytest.mark.django_db
@pytest.mark.parametrize("status", [Status.PENDING, Status.RUNNING, Status.STOPPING])
def test_a_deployment_that_has_not_ended_is_kept(past: Past, status: Status) -> None:
    deployment = past(status)

    assert purge_ended() == 0
    assert left() == {deployment.pk}


@pytest.mark.django_db
def test_a_deployment_whose_container_may_exist_is_kept(past: Past) -> None:
    deployment = past()
    deployment.runs.update(ended_at=None)

    assert purge_ended() == 0
    assert left() == {deployment.pk}


@pytest.mark.django_db
def test_a_deployment_is_kept_until_its_dependents_have_ended(past: Past, submit: Submit) -> None:
    old = past(Status.FAILED)
    dependent = submit(depends_on=(Wait(old.pk),))
    assert purge_ended() == 0

    cancel = Change(dependent.pk, "as the test wants it")
    transition(lifecycle.CANCEL, [cancel], actor="system:test", now=timezone.now())

    assert purge_ended() == 1
    assert left() == {dependent.pk}
    assert not dependent.dependencies.exists()


@pytest.mark.django_db
def test_of_a_kept_deployment_earlier_runs_go_and_the_newest_stays(
    past: Past, forge: Cluster
) -> None:
    deployment = past(Status.RUNNING)
    newest = deployment.runs.get()
    ended = timezone.now() - LONG_AGO
    Run.objects.filter(pk=newest.pk).update(released_at=ended, ended_at=ended, outcome="requeued")
    first, second = (
        Run.objects.create(
            deployment=deployment, cluster=forge, node=newest.node, placed_at=ended, cpu_milli=1,
            ram_mib=1, gpu=0, released_at=ended, ended_at=ended, outcome="requeued",
        )
        for _ in range(2)
    )  # fmt: skip

    purge_ended()

    assert set(deployment.runs.values_list("pk", flat=True)) == {second.pk}
    assert first.pk > newest.pk


@pytest.mark.django_db
def test_a_run_forgets_a_preemptor_that_was_deleted(past: Past, bring: Bring) -> None:
    preemptor, victim = past(), bring(Status.RUNNING)
    victim.runs.update(preempted_by=preemptor)

    purge_ended()

    assert victim.runs.get().preempted_by_id is None


@pytest.mark.django_db
def test_old_events_go_except_those_of_deployments_that_have_not_ended(
    past: Past, bring: Bring
) -> None:
    ended, running, recent = past(), past(Status.RUNNING), bring(Status.COMPLETED)

    assert purge_events() > 0

    subjects = Event.objects.filter(subject="deployment").values_list("subject_id", flat=True)
    assert set(subjects) == {running.pk, recent.pk}
    assert ended.pk in left()
    assert list(violations()) == []


@pytest.mark.django_db
def test_events_within_the_window_of_evictions_are_kept(past: Past, settings: Settings) -> None:
    policy = settings.SCHEDULER_POLICY
    settings.SCHEDULER_POLICY = policy.with_values({"budget_window_seconds": 50 * 86_400})
    past()

    assert purge_events() == 0


@pytest.mark.django_db(transaction=True)
def test_a_purge_skips_a_locked_deployment_without_waiting(past: Past) -> None:
    locked, free = past(), past()

    with held("deployments_deployment", locked.pk, "KEY SHARE"), connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '1ms'")
        assert purge_ended() == 1
        cursor.execute("RESET lock_timeout")

    assert left() == {locked.pk}
    assert free.pk not in left()
    assert purge_ended() == 1


@pytest.mark.django_db(transaction=True)
def test_a_purge_commits_after_each_batch(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purging, "BATCH", 2)
    for _ in range(5):
        past()
    execute, calls = retention._execute, []

    def fail_the_second_time(statements: Collection[str], ids: Collection[int]) -> None:
        calls.append(ids)
        if len(calls) == 2:
            raise InterruptedError
        execute(statements, ids)

    monkeypatch.setattr(retention, "_execute", fail_the_second_time)
    with pytest.raises(InterruptedError):
        purge_ended()

    assert Deployment.objects.count() == 3


@pytest.mark.django_db
def test_a_purge_ends_after_a_while_and_the_next_one_continues(
    past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purging, "BATCH", 1)
    for _ in range(2):
        past()
    monkeypatch.setattr(purging, "LONGEST_S", 0)
    assert purge_ended() == 0

    monkeypatch.setattr(purging, "LONGEST_S", 60)
    assert purge_ended() == 2
