"""The state machine: every verb in every status either makes its legal change or none."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import DataError, IntegrityError, connection, transaction

from accounts.models import User
from clusters.models import Cluster
from deployments import lifecycle
from deployments.bulk import Entry, submit_many
from deployments.choices import ENDED, Status
from deployments.lifecycle import VERBS, Change, Verb, transition
from deployments.models import Dependency, Deployment
from deployments.runtime.models import Run
from deployments.specs import Spec
from orgs.models import Event, Organization
from scheduling.insight.verify import violations
from tests.fixtures.deployments import Bring, Submit

pytestmark = pytest.mark.django_db

NOW = datetime.now(UTC)
ACTIVE = (Status.STARTING, Status.RUNNING)


@pytest.fixture(autouse=True)
def begin_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.NOW", datetime.now(UTC))


def carry_out(verb: Verb, deployment: Deployment, cluster: Cluster, **fields: Any) -> bool:
    change = Change(deployment.pk, "why", cluster=cluster.pk, **fields)
    changed = transition(verb, [change], actor="system:test", now=NOW)
    deployment.refresh_from_db()
    return deployment.pk in changed


def events_of(deployment: Deployment) -> list[Event]:
    return list(Event.objects.filter(subject="deployment", subject_id=deployment.pk).order_by("pk"))


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.kind)
def test_a_verb_makes_its_legal_change_or_none(
    bring: Bring, forge: Cluster, verb: Verb, status: Status
) -> None:
    deployment = bring(status)
    before, revision = len(events_of(deployment)), deployment.revision

    changed = carry_out(verb, deployment, forge)

    assert changed is (status in verb.sources)
    written = events_of(deployment)[before:]
    if changed:
        assert (deployment.status, deployment.revision) == (verb.target, revision + 1)
        assert [(e.kind, e.status, e.reason, e.actor, e.time) for e in written] == [
            (verb.kind, verb.target, "why", "system:test", NOW)
        ]
    else:
        assert (deployment.status, deployment.revision, written) == (status, revision, [])
    assert list(violations()) == []


@pytest.mark.parametrize(
    ("verb", "status"),
    [(verb, status) for verb in VERBS for status in verb.sources],
    ids=lambda value: getattr(value, "kind", str(value)),
)
def test_runs_are_kept_in_step(bring: Bring, forge: Cluster, verb: Verb, status: Status) -> None:
    deployment = bring(status)
    before = list(deployment.runs.current())

    carry_out(verb, deployment, forge)

    current = list(deployment.runs.current())
    assert len(current) == int(deployment.status in ACTIVE)
    for old in before if verb.releases else []:
        old.refresh_from_db()
        assert (old.outcome, old.released_at) == (verb.releases, NOW)
    if verb.opens_run:
        assert (current[0].placed_at, current[0].cluster) == (NOW, forge)


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.kind)
def test_a_change_decided_on_an_older_revision_does_not_apply(
    bring: Bring, forge: Cluster, verb: Verb
) -> None:
    deployment = bring(verb.sources[0])
    stale = deployment.revision
    Deployment.objects.filter(pk=deployment.pk).update(revision=stale + 1)

    changed = carry_out(verb, deployment, forge, revision=stale)

    assert not changed
    assert deployment.status == verb.sources[0]


def test_a_change_decided_on_the_present_revision_applies(bring: Bring, forge: Cluster) -> None:
    deployment = bring(Status.PENDING)

    assert carry_out(lifecycle.PLACE, deployment, forge, revision=deployment.revision)


def test_one_call_changes_many_and_skips_what_does_not_fit(bring: Bring, forge: Cluster) -> None:
    running, ended, pending = (bring(s) for s in ("running", "completed", "pending"))
    changes = [Change(d.pk, f"for {d.pk}") for d in (running, ended, pending)]

    changed = transition(lifecycle.STOP, changes, actor="system:test", now=NOW)

    assert changed == {running.pk: forge.pk}
    assert events_of(running)[-1].reason == f"for {running.pk}"


def test_no_change_needs_no_statement(django_assert_num_queries: Any, db: None) -> None:
    with django_assert_num_queries(0):
        assert transition(lifecycle.STOP, [], actor="system:test", now=NOW) == {}


def test_an_eviction_is_counted_and_names_the_preemptor(
    bring: Bring, submit: Submit, forge: Cluster
) -> None:
    victim, preemptor = bring(Status.RUNNING), submit()

    carry_out(lifecycle.EVICT, victim, forge, preemptor=preemptor.pk, ready_after=NOW)

    assert (victim.preemptions, victim.ready_after, victim.cluster) == (1, NOW, None)
    assert (victim.placed_at, victim.started_at) == (None, None)
    assert victim.runs.get().preempted_by == preemptor


@pytest.mark.parametrize(("preempted", "count"), [(True, 1), (False, 0)])
def test_a_move_counts_as_an_eviction_only_with_a_preemptor(
    bring: Bring, submit: Submit, forge: Cluster, preempted: bool, count: int
) -> None:
    deployment = bring(Status.RUNNING)

    carry_out(lifecycle.MOVE, deployment, forge, preemptor=submit().pk if preempted else None)

    assert (deployment.status, deployment.preemptions) == (Status.STARTING, count)
    assert deployment.runs.count() == 2


def test_an_ending_keeps_the_exit_code_and_the_times(bring: Bring, forge: Cluster) -> None:
    deployment = bring(Status.RUNNING)
    started_at = deployment.started_at

    carry_out(lifecycle.FAIL, deployment, forge, exit_code=137)

    assert (deployment.exit_code, deployment.finished_at, deployment.cluster) == (137, NOW, None)
    assert deployment.started_at == started_at
    assert deployment.runs.get().exit_code == 137


def _place_many(count: int, forge: Cluster, acme: Organization, bob: User) -> list[Deployment]:
    entry = Entry(acme, Spec("job", "busybox", cpu_milli=1, ram_mib=1))
    rows = submit_many(created_by=bob, entries=[entry] * count)
    pending = [Change(row.pk, "placed", cluster=forge.pk) for row in rows]
    transition(lifecycle.PLACE, pending, actor="system:test", now=NOW)
    return rows


@pytest.mark.parametrize("files", ["new", "large"])
def test_the_work_is_in_proportion_to_the_changes_although_the_statistics_are_old(
    forge: Cluster, bring: Bring, acme: Organization, bob: User, files: str
) -> None:
    """PostgreSQL then expects a few rows where there are many."""
    count = 2000
    with connection.cursor() as cursor:
        if files == "new":
            cursor.execute("TRUNCATE deployments_deployment, deployments_run CASCADE")
        else:
            before_it = transaction.savepoint()
            _place_many(2 * count, forge, acme, bob)
            transaction.savepoint_rollback(before_it)
        bring(Status.STARTING)
        cursor.execute("ANALYZE")
        rows = _place_many(count, forge, acme, bob)
        runs = Run.objects.filter(deployment__in=rows).values_list("deployment", "pk")
        starting = [Change(deployment, "runs", run=run) for deployment, run in runs]
        before = _rows_read(cursor)
        changed = transition(lifecycle.START, starting, actor="system:test", now=NOW)
        work = _rows_read(cursor) - before

    assert len(changed) == count
    assert work < 20 * count


def _rows_read(cursor: Any) -> int:
    cursor.execute(
        "SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))"
        " FROM pg_stat_xact_user_tables"
    )
    return int(cursor.fetchone()[0])


def test_a_restart_clears_the_previous_result(bring: Bring, forge: Cluster) -> None:
    deployment = bring(Status.FAILED)

    carry_out(lifecycle.RESTART, deployment, forge)

    assert deployment.queued_at == NOW
    assert (deployment.finished_at, deployment.exit_code, deployment.preemptions) == (None, None, 0)


def test_reasons_are_stored_only_for_pending_deployments(bring: Bring) -> None:
    waiting, running = bring(Status.PENDING), bring(Status.RUNNING)

    lifecycle.record_wait_reasons(
        dict.fromkeys((waiting.pk, running.pk), ("no_free_capacity", "too little"))
    )

    waiting.refresh_from_db()
    running.refresh_from_db()
    assert (waiting.status_reason, running.status_reason) == ("too little", "as the test wants it")
    assert len(events_of(waiting)) == 1


@pytest.mark.parametrize("status", Status)
def test_the_database_refuses_a_cluster_exactly_while_none_is_possible(
    bring: Bring, forge: Cluster, status: Status
) -> None:
    deployment = bring(status)
    wrong = None if deployment.cluster_id else forge

    with (
        pytest.raises(IntegrityError, match="placed_exactly_while_occupying"),
        transaction.atomic(),
    ):
        Deployment.objects.filter(pk=deployment.pk).update(cluster=wrong)


@pytest.mark.parametrize("status", Status)
def test_the_database_refuses_an_end_of_a_live_deployment_and_one_without_a_time(
    bring: Bring, status: Status
) -> None:
    deployment = bring(status)
    wrong = None if status in ENDED else NOW

    with pytest.raises(IntegrityError, match="finished_exactly_when_ended"), transaction.atomic():
        Deployment.objects.filter(pk=deployment.pk).update(finished_at=wrong)


@pytest.mark.parametrize(
    ("column", "value", "constraint"),
    [
        ("status", "'asleep'", "status_known"), ("priority", "0", "priority_range"),
        ("priority", "101", "priority_range"), ("cpu_milli", "0", "request_positive"),
        ("ram_mib", "0", "request_positive"), ("gpu", "-1", "gpu"),
    ],
)  # fmt: skip
def test_the_database_refuses_what_is_out_of_range(
    submit: Submit, forge: Cluster, column: str, value: str, constraint: str
) -> None:
    submit()

    with (
        pytest.raises(IntegrityError, match=constraint),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(f"UPDATE deployments_deployment SET {column} = {value}")


def test_the_database_refuses_a_second_open_run(bring: Bring, forge: Cluster) -> None:
    deployment = bring(Status.STARTING)

    with pytest.raises(IntegrityError, match="run_current_unique"), transaction.atomic():
        Run.objects.create(
            deployment=deployment, cluster=forge, placed_at=NOW, cpu_milli=1, ram_mib=1
        )


@pytest.mark.parametrize(
    ("fields", "constraint"),
    [
        ({"ended_at": NOW}, "run_released_before_ended"),
        ({"outcome": "completed"}, "run_outcome_once_released"),
        ({"released_at": NOW}, "run_outcome_once_released"),
    ],
)
def test_the_database_refuses_a_run_that_contradicts_itself(
    bring: Bring, fields: dict[str, Any], constraint: str
) -> None:
    deployment = bring(Status.STARTING)

    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        deployment.runs.update(**fields)


def test_the_database_refuses_a_deployment_that_waits_for_itself(
    forge: Cluster, submit: Submit
) -> None:
    deployment = submit()

    with pytest.raises(IntegrityError, match="dependency_not_self"), transaction.atomic():
        Dependency.objects.create(deployment=deployment, on=deployment)


def test_a_change_whose_event_cannot_be_written_does_not_happen(
    submit: Submit, forge: Cluster
) -> None:
    deployment = submit()
    unwritable = Change(deployment.pk, "why", data={"\0": "not in JSON of PostgreSQL"})

    with pytest.raises(DataError), transaction.atomic():
        transition(lifecycle.CANCEL, [unwritable], actor="bob", now=NOW)

    deployment.refresh_from_db()
    assert deployment.status == Status.PENDING
