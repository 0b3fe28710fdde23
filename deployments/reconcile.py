"""Make the engines run what the ledger says, and the ledger know what the engines run.

Level-triggered: each pass compares a cluster's unfinished runs with its containers and takes, for
each, the one step that brings them closer. Nothing here needs to have been told what changed.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto

import structlog
from django.conf import settings
from django.db import connection
from django.utils import timezone

from clusters.drivers import driver_for
from clusters.drivers.base import ContainerSpec, Driver, DriverError, Observation, Phase
from clusters.models import DIMENSIONS, Cluster
from clusters.wakeups import request_cycle, request_reconcile
from deployments import lifecycle
from deployments.lifecycle import Change, Verb, transition
from deployments.models import Dependency, Deployment, Run, Status

ACTOR = "system:runtime"

_MAX_PASSES = 5
"""Stop, end, launch, started: what one wake-up can do without waiting for the engine."""

log = structlog.get_logger(__name__)


class Step(Enum):
    """What a run needs next."""

    LAUNCH = auto()
    MARK_STARTED = auto()
    FINISH = auto()
    EXPIRE = auto()
    REQUEUE = auto()
    STOP = auto()
    END = auto()


_LEADS_ON = set(Step) - {Step.MARK_STARTED, Step.REQUEUE}
"""The steps after which another look at the engine may find more to do."""


def reconcile(cluster_id: int) -> None:
    """Bring one cluster's containers and runs together, as far as that needs no waiting."""
    cluster = Cluster.objects.filter(pk=cluster_id).first()
    if cluster is None:
        return
    driver = driver_for(cluster)
    with _exclusive(cluster_id):
        try:
            for _ in range(_MAX_PASSES):
                if not _Pass(cluster, driver, timezone.now()).carry_out():
                    break
        except DriverError as error:
            log.warning("engine_failed", cluster=cluster_id, error=str(error))


def next_step(run: Run, seen: Observation | None, now: datetime) -> Step | None:
    """Return what the run needs, given its container as the engine sees it (None: none there)."""
    current = run.released_at is None
    if seen is None:
        if not current:
            return Step.END
        return Step.REQUEUE if run.started_at else Step.LAUNCH
    if seen.phase is Phase.EXITED:
        return Step.FINISH if current else Step.END
    if not current:
        return Step.STOP
    if run.started_at is None:
        return Step.MARK_STARTED
    expires_at = _expires_at(run)
    return Step.EXPIRE if expires_at and expires_at <= now else None


def launchable(
    cluster: Cluster, wanting: Iterable[Run], runs: Sequence[Run], seen: Mapping[int, Observation]
) -> list[Run]:
    """Return the runs to launch now: the gate between ledger and containers.

    A container starts only when those still on the cluster, the stopping ones included, leave it
    room, and never beside an older container of the same deployment.
    """
    there = [run for run in runs if run.pk in seen and seen[run.pk].phase is Phase.RUNNING]
    known = {run.pk for run in runs}
    if any(run_id not in known and o.phase is Phase.RUNNING for run_id, o in seen.items()):
        return []
    room = {
        name: getattr(cluster, name) - sum(getattr(run, name) for run in there)
        for name in DIMENSIONS
    }
    chosen = []
    for run in sorted(wanting, key=lambda r: (-r.deployment.priority, r.placed_at, r.pk)):
        if all(getattr(run, name) <= room[name] for name in DIMENSIONS):
            room = {name: room[name] - getattr(run, name) for name in DIMENSIONS}
            chosen.append(run)
    older = Run.objects.unfinished().filter(deployment__in=[run.deployment_id for run in chosen])
    oldest = dict(older.order_by("-pk").values_list("deployment", "pk"))
    return [run for run in chosen if oldest[run.deployment_id] == run.pk]


@dataclass(slots=True)
class _Pass:
    cluster: Cluster
    driver: Driver
    now: datetime

    def carry_out(self) -> bool:
        """Take every step that is due; say whether another pass may find more."""
        runs = list(
            Run.objects.unfinished().filter(cluster=self.cluster).select_related("deployment")
        )
        seen = {o.run_id: o for o in self.driver.observe(self.now)}
        due: dict[Step, list[Run]] = {step: [] for step in Step}
        for run in runs:
            step = next_step(run, seen.get(run.pk), self.now)
            if step:
                due[step].append(run)
        orphans = [o for run_id, o in seen.items() if run_id not in {run.pk for run in runs}]
        due[Step.LAUNCH] = launchable(self.cluster, due[Step.LAUNCH], runs, seen)
        self._wake_for(runs, seen)
        self._remove_orphans(orphans)
        self._stop(due[Step.STOP])
        self._end(due[Step.END], seen)
        self._finish(due[Step.FINISH], seen)
        self._launch(due[Step.LAUNCH])
        self._transition_all(due)
        return bool(orphans) or any(runs for step, runs in due.items() if step in _LEADS_ON)

    def _transition_all(self, due: Mapping[Step, list[Run]]) -> None:
        started = self._transition(lifecycle.START, due[Step.MARK_STARTED], "Runs on {cluster}.")
        if Dependency.objects.filter(on__in=started).exists():
            request_cycle(self.cluster.organization_id)
        self._transition(
            lifecycle.EXPIRE, due[Step.EXPIRE], "Reached its max_runtime_s of {runtime} seconds."
        )
        self._transition(
            lifecycle.REQUEUE,
            due[Step.REQUEUE],
            "Its container on {cluster} vanished: it waits to be placed again.",
        )

    def _transition(self, verb: Verb, runs: list[Run], reason: str) -> list[int]:
        changes = [
            Change(
                run.deployment_id,
                reason.format(cluster=self.cluster.name, runtime=run.deployment.max_runtime_s),
                revision=run.deployment.revision,
                cluster=self.cluster.pk,
            )
            for run in runs
        ]
        changed = list(transition(verb, changes, actor=ACTOR, now=self.now))
        if changed and verb.releases:
            request_cycle(self.cluster.organization_id)
        return changed

    def _finish(self, runs: list[Run], seen: Mapping[int, Observation]) -> None:
        """Note how containers exited that nobody had asked to."""
        for verb, wanted in ((lifecycle.COMPLETE, True), (lifecycle.FAIL, False)):
            changes = [
                Change(
                    run.deployment_id,
                    f"Exited with code {seen[run.pk].exit_code}.",
                    revision=run.deployment.revision,
                    exit_code=seen[run.pk].exit_code,
                )
                for run in runs
                if (seen[run.pk].exit_code == 0) is wanted
            ]
            if transition(verb, changes, actor=ACTOR, now=self.now):
                request_cycle(self.cluster.organization_id)

    def _stop(self, runs: list[Run]) -> None:
        for run in runs:
            self.driver.stop(run.pk, settings.STOP_GRACE_SECONDS, self.now)

    def _end(self, runs: list[Run], seen: Mapping[int, Observation]) -> None:
        """Close runs whose containers are gone, and with them what was stopping."""
        for run in runs:
            if run.pk in seen:
                self.driver.remove(run.pk)
            if run.deployment.status == Status.STOPPING and not _has_newer(run):
                self._finalize(run)
        ended = [run.pk for run in runs]
        Run.objects.filter(pk__in=ended).update(ended_at=self.now)
        for cluster_id in _waiting_elsewhere(self.cluster, runs):
            request_reconcile(cluster_id)

    def _finalize(self, run: Run) -> None:
        completed = run.outcome == Run.Outcome.COMPLETED
        change = Change(
            run.deployment_id, run.deployment.status_reason, revision=run.deployment.revision
        )
        verb = lifecycle.COMPLETE if completed else lifecycle.FINISH_STOP
        transition(verb, [change], actor=ACTOR, now=self.now)
        request_cycle(self.cluster.organization_id)

    def _launch(self, runs: list[Run]) -> None:
        for run in runs:
            # Noted first: from here on there may be a container, whatever happens to this process.
            if not Run.objects.current().filter(pk=run.pk).update(launched_at=self.now):
                continue
            try:
                self.driver.start(_spec(run), self.now)
            except DriverError as error:
                self._start_failed(run, error)

    def _start_failed(self, run: Run, error: DriverError) -> None:
        if error.retriable:
            Deployment.objects.filter(pk=run.deployment_id, status=Status.STARTING).update(
                status_reason=f"Could not start yet: {error}"
            )
            return
        change = Change(run.deployment_id, str(error), revision=run.deployment.revision)
        if transition(lifecycle.FAIL, [change], actor=ACTOR, now=self.now):
            request_cycle(self.cluster.organization_id)

    def _remove_orphans(self, orphans: list[Observation]) -> None:
        for orphan in orphans:
            log.warning("orphan_removed", cluster=self.cluster.pk, run=orphan.run_id)
            if orphan.phase is Phase.RUNNING:
                self.driver.stop(orphan.run_id, 0, self.now)
            else:
                self.driver.remove(orphan.run_id)

    def _wake_for(self, runs: Sequence[Run], seen: Mapping[int, Observation]) -> None:
        """Ask to be called at the next known ending, when it comes before the periodic look."""
        horizon = self.now + timedelta(seconds=settings.RECONCILE_INTERVAL)
        known = [o.until for o in seen.values()] + [_expires_at(run) for run in runs]
        times = [time for time in known if time and self.now < time < horizon]
        if times:
            delay = (min(times) - self.now).total_seconds()
            request_reconcile(self.cluster.pk, delay_s=delay)


def _expires_at(run: Run) -> datetime | None:
    limit = run.deployment.max_runtime_s
    if limit is None or run.started_at is None or run.released_at is not None:
        return None
    return run.started_at + timedelta(seconds=limit)


def _waiting_elsewhere(cluster: Cluster, ended: Iterable[Run]) -> set[int]:
    """Return the other clusters where the same deployments may start now that these have ended."""
    moved = {run.deployment_id for run in ended if run.outcome != Run.Outcome.STOPPED}
    runs = Run.objects.current().filter(deployment__in=moved, launched_at=None)
    return {pk for pk in runs.values_list("cluster", flat=True) if pk and pk != cluster.pk}


def _has_newer(run: Run) -> bool:
    return Run.objects.filter(deployment=run.deployment_id, pk__gt=run.pk).exists()


def _spec(run: Run) -> ContainerSpec:
    deployment = run.deployment
    return ContainerSpec(
        run_id=run.pk,
        image=deployment.image,
        command=tuple(deployment.command),
        env=deployment.env,
        cpu_milli=run.cpu_milli,
        ram_mib=run.ram_mib,
        gpu=run.gpu,
    )


@contextmanager
def _exclusive(cluster_id: int) -> Iterator[None]:
    """Let one process at a time speak to the cluster's engine; the next one waits here."""
    # A session's lock, not a transaction's: the engine is never called inside a transaction.
    key = "hashtextextended('deployments.reconcile', %s)"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT pg_advisory_lock({key})", [cluster_id])
        try:
            yield
        finally:
            cursor.execute(f"SELECT pg_advisory_unlock({key})", [cluster_id])
