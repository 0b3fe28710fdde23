"""Reconcile runs in the ledger with containers on the engines, in both directions.

Level-triggered: each pass compares an engine's unfinished runs with its containers and takes the
next step for each run. It does not depend on any message about what has changed.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, auto
from time import monotonic
from typing import TypeVar
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from clusters import ownership
from clusters.drivers import driver_for
from clusters.drivers.base import Driver, DriverError, Observation, Phase
from clusters.engines import Engine
from clusters.places import Places
from clusters.wakeups import request, request_cycle, request_reconcile
from deployments import lifecycle
from deployments.choices import Status
from deployments.lifecycle import Change, Verb, transition, update_reasons
from deployments.logs import store
from deployments.models import Dependency
from deployments.registries.services import by_host
from deployments.runtime import (
    closing,
    lost_contact,
    node_sync,
    node_warnings,
    orphans,
    outcomes,
    starting,
)
from deployments.runtime.known import KnownRun, unfinished, whole
from deployments.runtime.launching import Launch, launches, may_appear
from deployments.runtime.lock import one_at_a_time
from deployments.runtime.lost_contact import ACTOR, tolerate_failure
from deployments.runtime.models import Run
from deployments.runtime.outcomes import Ending
from deployments.runtime.starting import Failure
from hypervisor.base.secrets import CannotDecrypt
from orgs.events import record

_MAX_PASSES = 8
"""Enough for one wake-up: start seen, ended, closed, the next one launched, its start seen."""

_LAUNCH_S = 5.0
"""How long a pass starts containers, before the next pass looks at what else has happened."""

_BATCH = 1000
"""How many deployments are changed at once, so that no row stays locked for long."""

T = TypeVar("T")

log = structlog.get_logger(__name__)


class Step(Enum):
    """What a run needs next."""

    LAUNCH = auto()
    MARK_PREPARING = auto()
    MARK_STARTED = auto()
    FINISH = auto()
    EXPIRE = auto()
    REQUEUE = auto()
    STOP = auto()
    END = auto()


_NEEDS_ANOTHER_PASS = set(Step) - {Step.MARK_PREPARING, Step.MARK_STARTED, Step.REQUEUE}
"""The steps after which another pass may find more to do."""


def reconcile(engine: Engine) -> None:
    """Reconcile the containers and runs of one engine, as far as possible without waiting.

    If another process is reconciling the engine, request a rerun and return.
    """
    one_at_a_time(engine, lambda: _reconcile(engine))


def _reconcile(known: Engine) -> bool:
    """Make passes until nothing is left to do; return whether the engine answered."""
    # As it is under the lock: an engine of all nodes may have become one of a single node.
    engine = known.refreshed()
    if engine is None or engine.node != known.node:
        return True
    try:
        driver = driver_for(engine)
        ownership.check(engine, driver, timezone.now())
        binds = node_sync.sync(engine, driver, timezone.now())
        for _ in range(_MAX_PASSES):
            this = _Pass(engine, driver, timezone.now(), binds)
            if not this.carry_out():
                break
        orphans.forget(engine, this.present, this.now)
        lost_contact.keep_node_state(engine, timezone.now())
    except (DriverError, CannotDecrypt) as error:
        lost_contact.failed(engine, error, timezone.now())
        return False
    return True


def next_step(run: KnownRun, seen: Observation | None, now: datetime) -> Step | None:
    """Return what the run needs next, given its container on the engine (None: it has none)."""
    current = run.released_at is None
    if seen is None:
        if not current:
            return None if may_appear(run, now) else Step.END
        return Step.REQUEUE if run.started_at else Step.LAUNCH
    if not current:
        return Step.END if seen.phase is Phase.EXITED else Step.STOP
    if seen.phase is Phase.PREPARING:
        return Step.MARK_PREPARING
    if run.started_at is None and (seen.phase is Phase.RUNNING or seen.started_at):
        return Step.MARK_STARTED
    if seen.phase is Phase.EXITED:
        return Step.FINISH
    return Step.EXPIRE if run.expires_at and run.expires_at <= now else None


@dataclass(slots=True)
class _Pass:
    engine: Engine
    driver: Driver
    now: datetime
    binds: bool
    """Whether each container has to run on the node of its run, because there are several."""
    runs: list[KnownRun] = field(default_factory=list)
    seen: dict[int, Observation] = field(default_factory=dict)
    orphans: list[Observation] = field(default_factory=list)
    unknown: list[Observation] = field(default_factory=list)
    superseded: bool = False
    """Whether a deployment changed while the engine was called, so that another pass is needed."""

    def carry_out(self) -> bool:
        """Take every step that is due; return whether another pass may find more."""
        # The ledger is read before the engine: in the other order, a container launched in between
        # would seem to have vanished.
        self.runs = unfinished(self.engine)
        self.seen, strays = orphans.matched(self.driver.observe(self.now), self.runs)
        self.orphans, self.unknown = orphans.split(self.engine, strays)
        lost_contact.answered(self.engine, self.now)
        if self.binds:
            node_sync.follow(self.engine.cluster, self.runs, self.seen)
        due = self._due()
        self._wake_for()
        orphans.report(self.engine, self.unknown)
        orphans.remove(self.engine, self.driver, self.orphans, self.now)
        self._stop(whole(due[Step.STOP]))
        self._end(whole(due[Step.END]))
        self._finish(whole(due[Step.FINISH]))
        self._launch(self._launches(due[Step.LAUNCH]))
        self._mark(due)
        node_warnings.report(self.engine, self.runs, self.seen, self.now)
        exits_soon = any(self.seen[r.pk].phase is Phase.EXITED for r in due[Step.MARK_STARTED])
        again = bool(self.orphans) or exits_soon or self.superseded
        return again or any(due[step] for step in _NEEDS_ANOTHER_PASS)

    @property
    def present(self) -> list[UUID]:
        """The uids of all containers that were observed on the engine."""
        return [o.uid for o in (*self.seen.values(), *self.orphans, *self.unknown)]

    def _due(self) -> dict[Step, list[KnownRun]]:
        due: dict[Step, list[KnownRun]] = {step: [] for step in Step}
        for run in self.runs:
            step = next_step(run, self.seen.get(run.pk), self.now)
            if step:
                due[step].append(run)
        return due

    def _mark(self, due: Mapping[Step, list[KnownRun]]) -> None:
        marked = (Step.MARK_STARTED, Step.REQUEUE, Step.MARK_PREPARING)
        places, now = Places.of_rows(run for step in marked for run in due[step]), self.now
        started = self._transition(
            lifecycle.START, due[Step.MARK_STARTED], lambda run: f"Runs on {places.of(run)}."
        )
        if started and Dependency.objects.filter(on__in=started).exists():
            request_cycle(self.engine.cluster.organization_id)
        self._transition(lifecycle.EXPIRE, due[Step.EXPIRE], _expired)
        gone = whole(due[Step.REQUEUE])
        self._apply_endings(outcomes.of_vanished(run, places.of(run), now) for run in gone)
        preparing = [self._preparing(run, places.of(run)) for run in due[Step.MARK_PREPARING]]
        update_reasons("preparing", preparing, statuses=(Status.STARTING,), actor=ACTOR, now=now)

    def _preparing(self, run: KnownRun, where: str) -> Change:
        default = f"Its container is being prepared on {where}."
        reason = self.seen[run.pk].message or default
        return Change(run.deployment_id, reason, data={"code": "preparing", "run": run.pk})

    def _transition(
        self, verb: Verb, runs: Iterable[KnownRun], reason: Callable[[KnownRun], str]
    ) -> list[int]:
        changes = [
            Change(
                run.deployment_id,
                reason(run),
                run=run.pk,
                data={"code": verb.kind, **self.engine.facts, "run": run.pk},
            )
            for run in runs
        ]
        return self._apply(verb, changes)

    def _apply_endings(self, found: Iterable[Ending]) -> None:
        by_verb: dict[Verb, list[Change]] = {}
        for ending in found:
            by_verb.setdefault(ending.verb, []).append(ending.change)
        for verb, changes in by_verb.items():
            self._apply(verb, changes)

    def _apply(self, verb: Verb, changes: list[Change]) -> list[int]:
        changed: list[int] = []
        for batch in _batches(changes, _BATCH):
            changed += transition(verb, batch, actor=ACTOR, now=self.now)
        self.superseded |= len(changed) < len(changes)
        if changed and verb.releases:
            request_cycle(self.engine.cluster.organization_id)
        return changed

    def _finish(self, runs: list[Run]) -> None:
        """Record how containers have ended by themselves."""
        node_sync.learn(self.engine, self.driver, runs, self.seen, self.now)
        self._apply_endings(outcomes.of_exit(run, self.seen[run.pk], self.now) for run in runs)

    def _stop(self, runs: list[Run]) -> None:
        new = [run.pk for run in runs if run.stop_requested_at is None]
        if new:
            Run.objects.filter(pk__in=new).update(stop_requested_at=self.now)
        for run in runs:
            with tolerate_failure(run.pk):
                self.driver.stop(self.seen[run.pk].uid, settings.STOP_GRACE_SECONDS, self.now)

    def _end(self, runs: list[Run]) -> None:
        """End runs whose containers are gone, and stopping deployments that they belong to."""
        for run in runs:
            seen = self.seen.get(run.pk)
            with tolerate_failure(run.pk):
                if seen is not None:
                    store.keep(self.driver, run)
                    self.driver.remove(seen.uid)
                self._close(run, seen)
        for cluster_id in _waiting_elsewhere(self.engine, runs):
            request_reconcile(cluster_id)

    @transaction.atomic
    def _close(self, run: Run, seen: Observation | None) -> None:
        remark = outcomes.of_grace(run, seen, self.now) if seen else None
        code = seen.exit_code if seen else None
        ended = closing.close([run.pk], actor=ACTOR, now=self.now, exit_code=code, remark=remark)
        if remark and not ended:
            data = {"code": remark.code, **self.engine.facts, "run": run.pk}
            record(run.deployment, "killed", ACTOR, remark.sentence, data)

    def _launches(self, wanting: list[KnownRun]) -> list[Launch]:
        if not wanting:
            return []
        strays = [*self.orphans, *self.unknown]
        nodes, devices = self.engine.nodes, self.engine.devices
        return launches(nodes, devices, wanting, self.runs, self.seen, strays)

    def _launch(self, chosen: Sequence[Launch]) -> None:
        """Start the containers, but not for so long that what else happens has to wait."""
        registries = by_host(self.engine.cluster.organization_id) if chosen else {}
        nodes = {node.pk: node.name for node in self.engine.nodes} if self.binds else {}
        until = monotonic() + _LAUNCH_S
        for batch in _batches(chosen, self.driver.starts_at_once):
            failures = starting.start(self.driver, batch, registries, nodes)
            self._refused([failure for failure in failures if failure.is_refusal])
            for failure in failures:
                if not failure.is_refusal:
                    raise failure.error
            if monotonic() > until:
                return

    def _refused(self, refusals: list[Failure]) -> None:
        if not refusals:
            return
        starting.take_back(refusals)
        errors = {refusal.run.pk: refusal.error for refusal in refusals}
        runs = whole(refusal.run for refusal in refusals)
        endings = {run.pk: outcomes.of_refusal(run, errors[run.pk], self.now) for run in runs}
        self._apply_endings(ending for ending in endings.values() if ending)
        starting.report([each for each in refusals if not endings.get(each.run.pk)], self.now)

    def _wake_for(self) -> None:
        """Request a reconciliation at the next known ending, if that is before the periodic one."""
        horizon = self.now + timedelta(seconds=settings.RECONCILE_INTERVAL)
        known = [o.until for o in self.seen.values()] + [run.expires_at for run in self.runs]
        times = [time for time in known if time and self.now < time < horizon]
        if times:
            delay = (min(times) - self.now).total_seconds()
            request(self.engine.wakeup, delay_s=delay)


def _batches(rows: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _expired(run: KnownRun) -> str:
    return f"Reached its `max_runtime_s` ({run.max_runtime_s} s)."


def _waiting_elsewhere(engine: Engine, ended: Iterable[Run]) -> set[int]:
    """Return the clusters where deployments of the ended runs may start now on another engine."""
    moved = {run.deployment_id for run in ended if run.outcome != Run.Outcome.STOPPED}
    runs = Run.objects.current().filter(deployment__in=moved, launched_at=None)
    return {pk for pk in runs.exclude(engine.placed).values_list("cluster", flat=True) if pk}
