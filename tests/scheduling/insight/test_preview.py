"""The preview of an operator's action, and its confirmation."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import count
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.models import User
from clusters import services as cluster_services
from clusters.capacity import Capacity
from clusters.models import Cluster
from deployments import services
from deployments.choices import OnDependencyFailure, Status
from deployments.dependencies import Wait
from deployments.models import Deployment
from deployments.runtime.models import Run
from deployments.specs import Spec
from orgs.models import Event, Organization
from scheduling.cycle.run import run_cycle
from scheduling.insight import preview as preview_module
from scheduling.insight.operator_actions import ACTIONS, Change
from scheduling.insight.preview import Preview, carry_out, preview
from scheduling.insight.verify import violations
from scheduling.models import SchedulingCycle
from scheduling.planner.compare import Kind
from scheduling.planner.pipeline import make_plan
from scheduling.planner.plan import Plan
from scheduling.planner.snapshot import Snapshot
from tests.fixtures.deployments import Bring, Submit
from tests.support.preemption import preempt_in_vain

pytestmark = pytest.mark.django_db

CHANGE = SchedulingCycle.Trigger.CHANGE


def change(name: str, *subjects: Deployment | Cluster, **options: Any) -> Change:
    return Change(ACTIONS[name], tuple(row.pk for row in subjects), "olga", options)


def kinds(result: Preview) -> dict[int, Kind]:
    return {row.deployment: row.kind for row in result.consequences}


@pytest.fixture
def anvil(acme: Organization) -> Cluster:
    """A second cluster, like forge."""
    return cluster_services.create(
        actor="alice", organization=acme, name="anvil", capacity=Capacity(8000, 16384, 2)
    )


def test_a_preview_changes_nothing(bring: Bring, submit: Submit) -> None:
    running = bring(Status.RUNNING, gpu=2)
    submit(gpu=2)
    before = (running.revision, Event.objects.count(), Run.objects.count())

    preview(change("stop", running))

    running.refresh_from_db()
    assert (running.revision, Event.objects.count(), Run.objects.count()) == before


def test_a_stop_shows_which_deployment_starts(bring: Bring, submit: Submit) -> None:
    running, waiting = bring(Status.RUNNING, gpu=2), submit(gpu=2)

    result = preview(change("stop", running))

    assert kinds(result) == {running.pk: Kind.WITHDRAWN, waiting.pk: Kind.STARTS}
    assert result.touched[0].reason == "Stopped by olga."
    assert result.names[waiting.pk] == "job"


def test_a_hold_shows_which_deployment_starts_instead(
    forge: Cluster, bring: Bring, submit: Submit
) -> None:
    first, second = submit(gpu=2, priority=90), submit(gpu=2, priority=20)

    result = preview(change("hold", first))

    assert kinds(result) == {first.pk: Kind.WITHDRAWN, second.pk: Kind.STARTS}
    assert result.touched[0].state == "held"
    assert result.anyway == 1


def test_a_release_shows_its_victims(bring: Bring, submit: Submit) -> None:
    running, held = bring(Status.RUNNING, gpu=2, priority=20), submit(gpu=2, priority=90)
    services.hold(held, actor="alice")

    result = preview(change("release", held))

    assert kinds(result) == {running.pk: Kind.EVICTED, held.pk: Kind.STARTS}
    assert result.consequences[0].for_ == held.pk


def test_raising_two_priorities_shows_which_deployment_starts(bring: Bring, submit: Submit) -> None:
    running = bring(Status.RUNNING, gpu=2, priority=50)
    first, second = submit(gpu=2, priority=10), submit(gpu=2, priority=10)

    result = preview(change("reprioritize", first, second, priority=60))

    expected = {running.pk: Kind.EVICTED, first.pk: Kind.STARTS, second.pk: Kind.WAITS}
    assert kinds(result) == expected


def test_preempting_without_waiting_deployments_only_frees_capacity(bring: Bring) -> None:
    running = bring(Status.RUNNING)

    result = preview(change("preempt", running))

    assert kinds(result) == {running.pk: Kind.WITHDRAWN}
    assert "competes again at" in result.touched[0].reason


def test_requeueing_without_waiting_deployments_only_restarts(bring: Bring) -> None:
    running = bring(Status.RUNNING)

    assert kinds(preview(change("requeue", running))) == {running.pk: Kind.RESTARTS}


def test_a_move_shows_its_target(bring: Bring, forge: Cluster, anvil: Cluster) -> None:
    running = bring(Status.RUNNING)

    result = preview(change("move", running, target=None))

    (row,) = result.consequences
    assert (row.kind, row.source, row.target) == (Kind.MOVES, forge.pk, anvil.pk)
    assert result.places.clusters == {forge.pk: "forge", anvil.pk: "anvil"}


def test_a_drain_shows_moves_waits_and_evictions(
    bring: Bring, submit: Submit, forge: Cluster, anvil: Cluster
) -> None:
    low = submit(gpu=2, priority=10, requested_cluster=anvil)
    run_cycle(low.organization_id, CHANGE)
    high, bound = bring(Status.RUNNING, gpu=1, priority=90), bring(Status.RUNNING, gpu=1)
    Deployment.objects.filter(pk=bound.pk).update(requested_cluster=forge)

    result = preview(change("drain", forge))

    assert kinds(result) == {low.pk: Kind.EVICTED, high.pk: Kind.MOVES, bound.pk: Kind.EVICTED}
    reasons = {row.deployment: row.for_ for row in result.consequences}
    assert reasons == {low.pk: high.pk, high.pk: None, bound.pk: None}


def test_growing_a_cluster_shows_which_deployment_starts(
    bring: Bring, submit: Submit, forge: Cluster
) -> None:
    bring(Status.RUNNING, gpu=2)
    waiting = submit(gpu=2)

    result = preview(change("resize", forge, capacity=Capacity(8000, 16384, 4)))

    assert kinds(result) == {waiting.pk: Kind.STARTS}


def test_a_preview_shows_a_services_refusal(bring: Bring, forge: Cluster) -> None:
    running, ended = bring(Status.RUNNING, gpu=2), bring(Status.FAILED)

    result = preview(change("stop", running, ended))
    shrunk = preview(change("resize", forge, capacity=Capacity(8000, 16384, 1)))

    assert [row.refused for row in result.touched] == [False, True]
    assert "is failed, but this is possible only while it is" in result.touched[1].reason
    assert "cannot shrink" in shrunk.touched[0].reason
    assert not shrunk.does_something


def test_a_preview_shows_the_dependents_of_a_cancelled_deployment(
    bring: Bring, submit: Submit
) -> None:
    first = submit()
    patient = submit(depends_on=(Wait(first.pk),))
    cancelling = submit(
        depends_on=(Wait(first.pk),), on_dependency_failure=OnDependencyFailure.CANCEL
    )

    result = preview(change("cancel", first))

    assert [(row.deployment, row.on, row.cancelled) for row in result.dependents] == [
        (patient.pk, first.pk, False), (cancelling.pk, first.pk, True),
    ]  # fmt: skip


def test_a_preview_shows_that_a_subject_no_longer_exists(bring: Bring) -> None:
    result = preview(Change(ACTIONS["stop"], (4711,), "olga"))

    assert result.touched[0].reason == "The deployment 4711 no longer exists."


def test_a_preview_shows_no_preemption_that_will_be_suspended(bring: Bring, submit: Submit) -> None:
    victim, preemptor = bring(Status.RUNNING, gpu=2, priority=20), submit(gpu=2, priority=60)
    run_cycle(victim.organization_id, CHANGE)
    preempt_in_vain(preemptor)
    victim.refresh_from_db()
    cluster = victim.cluster
    assert cluster is not None
    cluster_services.cordon(cluster, actor="alice")

    result = preview(Change(ACTIONS["uncordon"], (cluster.pk,), "olga"))

    assert Kind.EVICTED not in kinds(result).values()


def test_a_preview_shows_the_preemption_of_a_deployment_whose_release_lifts_a_suspension(
    bring: Bring, submit: Submit
) -> None:
    victim, preemptor = bring(Status.RUNNING, gpu=2, priority=20), submit(gpu=2, priority=60)
    run_cycle(victim.organization_id, CHANGE)
    preempt_in_vain(preemptor)
    run_cycle(victim.organization_id, CHANGE)
    services.hold(preemptor, actor="alice")

    result = preview(change("release", preemptor))

    assert Kind.EVICTED in kinds(result).values()


def test_the_change_that_was_shown_is_made(bring: Bring, submit: Submit) -> None:
    running, waiting = bring(Status.RUNNING, gpu=2), submit(gpu=2)
    meant = change("stop", running)
    shown = preview(meant)

    done, result = carry_out(meant, shown=shown.fingerprint)
    run_cycle(running.organization_id, CHANGE)

    running.refresh_from_db()
    waiting.refresh_from_db()
    assert done
    assert result.consequences == shown.consequences
    assert (running.status, waiting.status) == (Status.STOPPING, Status.STARTING)
    assert Event.objects.filter(kind="stop_requested", actor="olga").count() == 1


def test_nothing_is_done_if_the_consequences_have_changed(bring: Bring, submit: Submit) -> None:
    running = bring(Status.RUNNING, gpu=2)
    meant = change("stop", running)
    shown = preview(meant)
    waiting = submit(gpu=2)

    done, result = carry_out(meant, shown=shown.fingerprint)

    running.refresh_from_db()
    assert not done
    assert kinds(result)[waiting.pk] == Kind.STARTS
    assert running.status == Status.RUNNING


def test_an_irrelevant_change_needs_no_new_confirmation(bring: Bring, submit: Submit) -> None:
    running = bring(Status.RUNNING, gpu=2)
    meant = change("stop", running)
    shown = preview(meant)
    services.adjust(running, actor="bob", name="renamed")

    done, _ = carry_out(meant, shown=shown.fingerprint)

    assert done


def test_a_preview_for_many_subjects_plans_no_more_often(
    bring: Bring, submit: Submit, forge: Cluster
) -> None:
    def statements(*subjects: Deployment) -> int:
        with CaptureQueriesContext(connection) as queries:
            preview(change("hold", *subjects))
        return len(queries)

    deployments = [submit() for _ in range(12)]
    statements(*deployments)

    few, many = statements(*deployments[:2]), statements(*deployments)

    assert (many - few) / 10 <= 6


def place(deployment: Deployment) -> int | None:
    return deployment.cluster_id if deployment.status in ("starting", "running") else None


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_the_cycle_does_what_the_preview_shows(bob: User, data: st.DataObject) -> None:
    """Three clusters, a dozen deployments in all states, one action on some of them."""
    organization = _world(bob, data)
    meant = _meant(organization, data)
    moment = timezone.now()
    clock: Callable[[], Any] = lambda: moment  # noqa: E731

    shown = preview(meant, clock=clock)
    done, _ = carry_out(meant, shown=shown.fingerprint, clock=clock)
    undone = {d.pk: place(d) for d in organization.deployments.all()}
    run_cycle(organization.pk, CHANGE, clock=clock)

    assert done
    rows = {row.deployment: row for row in shown.consequences}
    for deployment in organization.deployments.all():
        row = rows.get(deployment.pk)
        if row:
            assert place(deployment) == row.target, (meant, row)
            if row.for_:
                victim = deployment.runs.filter(released_at__isnull=False).latest("released_at")
                assert victim.preempted_by_id == row.for_, (meant, row)
        elif shown.anyway == 0:
            assert place(deployment) == undone[deployment.pk], (meant, deployment)
    assert not list(violations())


_names = count()


def _world(bob: User, data: st.DataObject) -> Organization:
    organization = Organization.objects.create(name=f"World {next(_names)}")
    clusters = [
        cluster_services.create(
            actor="bob", organization=organization, name=name, capacity=Capacity(4000, 4096, 2)
        )
        for name in ("a", "b", "c")
    ]
    draw = data.draw
    for _ in range(draw(st.integers(2, 12))):
        deployment = services.submit(
            created_by=bob,
            organization=organization,
            spec=Spec(
                name="job",
                image="busybox",
                cpu_milli=draw(st.sampled_from([1000, 2000, 4000])),
                ram_mib=draw(st.sampled_from([512, 2048])),
                gpu=draw(st.integers(0, 2)),
                priority=draw(st.sampled_from([10, 50, 90])),
                requested_cluster=draw(st.sampled_from([None, None, *clusters])),
            ),
        )
        if draw(st.integers(0, 4)) == 0:
            services.hold(deployment, actor="bob")
        if draw(st.integers(0, 2)) == 0:
            run_cycle(organization.pk, CHANGE)
    return organization


def _meant(organization: Organization, data: st.DataObject) -> Change:
    draw = data.draw
    action = ACTIONS[draw(st.sampled_from(sorted(ACTIONS)))]
    clusters = list(organization.clusters.all())
    rows = clusters if action.subject == "cluster" else list(organization.deployments.all())
    subjects = draw(st.lists(st.sampled_from(rows), min_size=1, max_size=4, unique=True))
    options: dict[str, dict[str, Any]] = {
        "priority": {"priority": draw(st.sampled_from([5, 50, 95]))},
        "target": {"target": draw(st.sampled_from([None, *clusters]))},
        "capacity": {"capacity": Capacity(draw(st.sampled_from([1000, 8000])), 8192, 4)},
    }
    return Change(action, tuple(row.pk for row in subjects), "olga", options.get(action.needs, {}))


@pytest.mark.django_db(transaction=True)
def test_of_concurrent_confirmations_only_one_succeeds(bring: Bring, submit: Submit) -> None:
    running = bring(Status.RUNNING, gpu=2)
    submit(gpu=2)
    meant = change("stop", running)
    shown = preview(meant)

    def confirm(_: int) -> bool:
        try:
            return carry_out(meant, shown=shown.fingerprint)[0]
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(confirm, range(4)))

    assert sorted(done) == [False, False, False, True]
    assert Event.objects.filter(kind="stop_requested").count() == 1


@pytest.mark.django_db(transaction=True)
def test_no_cycle_decides_anything_between_the_check_and_the_change(
    bring: Bring, forge: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    meant = change("stop", bring(Status.RUNNING, gpu=2))
    shown = preview(meant)
    refused: list[bool] = []

    def try_to_lock() -> bool:
        try:
            with transaction.atomic():
                Cluster.objects.select_for_update(no_key=True, nowait=True).get(pk=forge.pk)
        except OperationalError:
            return True
        finally:
            connection.close()
        return False

    def plan_while_another_thread_tries_to_lock(snapshot: Snapshot) -> Plan:
        with ThreadPoolExecutor(1) as pool:
            refused.append(pool.submit(try_to_lock).result())
        return make_plan(snapshot)

    monkeypatch.setattr(preview_module, "make_plan", plan_while_another_thread_tries_to_lock)

    done, _ = carry_out(meant, shown=shown.fingerprint)

    assert done
    assert refused == [True, True]


@pytest.mark.django_db(transaction=True)
def test_a_note_is_only_on_the_events_of_its_own_action(
    bring: Bring, globex_cluster: Cluster
) -> None:
    meant = change("stop", bring(Status.RUNNING))
    shown = preview(meant)

    def cordon_elsewhere() -> None:
        try:
            cluster_services.cordon(globex_cluster, actor="olga")
        finally:
            connection.close()

    def clock() -> datetime:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(cordon_elsewhere).result()
        return timezone.now()

    done, _ = carry_out(meant, shown=shown.fingerprint, note="costs too much", clock=clock)

    assert done
    noted = {event.kind: event.data.get("note") for event in Event.objects.filter(actor="olga")}
    assert noted == {"stop_requested": "costs too much", "cordoned": None}
