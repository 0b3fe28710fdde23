"""What follows for a deployment whose container could not start, ended or vanished.

The decisions are data: a verb of the lifecycle and its change. Each reason contains a remedy if the
user can do something.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from clusters.drivers.base import Cause, DriverError, Observation
from deployments import lifecycle
from deployments.choices import RestartPolicy
from deployments.lifecycle import Change, Verb
from deployments.runtime.closing import Remark
from deployments.runtime.models import Run

FIRST_DELAY = timedelta(seconds=10)
LONGEST_DELAY = timedelta(seconds=300)
GOOD_RUN = timedelta(minutes=10)
"""A run of at least this length resets the count of restarts in a row."""

START_PATIENCE = timedelta(minutes=5)
"""How long a start that may still succeed is tried again."""

EXIT_CODE = "exit_code"
VANISHED = "container_vanished"
BACKOFF = "restart_backoff"
KILLED_CODE = 137

_NOT_RESTARTED = {
    Cause.IMAGE_NOT_FOUND, Cause.COMMAND_NOT_FOUND, Cause.INVALID_SPEC, Cause.OVER_CAPACITY,
    Cause.NO_DEVICE, Cause.NO_STORAGE_LIMIT,
}  # fmt: skip
"""Causes after which a restart would fail in the same way."""

_OWN_LIMITS = {Cause.OUT_OF_MEMORY, Cause.OUT_OF_STORAGE}

_FALLBACKS = {
    Cause.IMAGE_NOT_FOUND: "Its image does not exist: correct `image` and submit it again.",
    Cause.IMAGE_NOT_PULLABLE: "Its image could not be fetched: check whether its registry answers.",
    Cause.COMMAND_NOT_FOUND: "Its image does not contain its command: correct `command` and submit"
    " it again.",
    Cause.INVALID_SPEC: "The engine refused its specification: correct it and submit it again.",
    Cause.OVER_CAPACITY: "The engine has less capacity than its cluster: notify an operator.",
    Cause.NO_DEVICE: "The engine does not have its GPU: notify an operator.",
    Cause.NO_STORAGE_LIMIT: "The engine cannot limit storage: leave `ephemeral_storage_mib` out.",
    Cause.OUT_OF_STORAGE: "Used more ephemeral storage than it may: set a larger"
    " `ephemeral_storage_mib`.",
    Cause.KILLED: "Killed by something other than the hypervisor: see its logs.",
    Cause.ENGINE_EVICTED: "The cluster's engine evicted it",
    Cause.NODE_LOST: "Its node is gone",
    Cause.NODE_REFUSED: "Its node refused its container",
    Cause.ENGINE_FAILED: "The engine failed",
    Cause.UNREACHABLE: "The engine did not answer",
}


@dataclass(frozen=True, slots=True)
class Ending:
    """How a deployment leaves its placement: the verb, and what it changes."""

    verb: Verb
    change: Change


def of_exit(run: Run, seen: Observation, now: datetime) -> Ending:
    """Decide on a container that ended without being asked to by the hypervisor."""
    # Checked first, because a container that its engine evicts may exit with 0 as well.
    if seen.cause and seen.cause.is_engines:
        return requeued(run, seen.message or _FALLBACKS[seen.cause], seen.cause, now)
    if seen.exit_code == 0:
        reason = " ".join(filter(None, ("Exited with code 0.", seen.message)))
        return _ending(lifecycle.COMPLETE, run, reason, "completed", exit_code=0)
    return _failed(run, _sentence(run, seen), seen.cause, seen.exit_code, _ended_at(run, seen, now))


def of_refusal(run: Run, error: DriverError, now: datetime) -> Ending | None:
    """Decide on a start that the engine refused; None if it is to be tried again."""
    if error.cause is Cause.FETCHING_IMAGE:  # not a refusal: fetching a large image takes long
        return None
    if error.retriable and now - run.placed_at < START_PATIENCE:
        return None
    if error.cause.is_engines:
        return requeued(run, str(error), error.cause, now)
    return _failed(run, str(error) or _FALLBACKS[error.cause], error.cause, None, now)


def of_vanished(run: Run, where: str, now: datetime) -> Ending:
    """Decide on a started container that the engine does not have any more."""
    return requeued(run, f"Its container on {where} vanished", VANISHED, now)


def requeued(run: Run, why: str, code: str, now: datetime) -> Ending:
    """Queue it again: a failure of the engine is not a failure of the deployment."""
    recent = Run.objects.filter(
        deployment=run.deployment_id,
        outcome=Run.Outcome.REQUEUED,
        released_at__gt=now - GOOD_RUN,
    ).count()
    ready_after = now + delay(recent) if recent else None
    tail = f" after {_at(ready_after)}" if ready_after else ""
    reason = f"{why.rstrip('.')}: it waits to be placed again{tail}."
    return _ending(lifecycle.REQUEUE, run, reason, code, ready_after=ready_after)


def delay(restart: int) -> timedelta:
    """Return how long the n-th restart in a row waits, counting from 1."""
    doublings = min(restart - 1, 16)
    return min(FIRST_DELAY * (1 << doublings), LONGEST_DELAY)


def of_grace(run: Run, seen: Observation, now: datetime) -> Remark | None:
    """Return a remark on a container that was killed because it did not stop in its grace time."""
    grace, asked_at = settings.STOP_GRACE_SECONDS, run.stop_requested_at
    if asked_at is None or now - asked_at < timedelta(seconds=grace):
        return None
    if seen.exit_code != KILLED_CODE or seen.cause in _OWN_LIMITS:
        return None
    sentence = f"It did not end within {grace} s of SIGTERM, so it was killed."
    return Remark("killed_after_grace", sentence)


def _ended_at(run: Run, seen: Observation, now: datetime) -> datetime:
    """Return when it ended: the engine's time if that is within the run, now otherwise."""
    at = seen.exited_at
    return at if at and run.placed_at <= at <= now else now


def _failed(
    run: Run, why: str, cause: Cause | None, exit_code: int | None, ended_at: datetime
) -> Ending:
    deployment = run.deployment
    code = cause or EXIT_CODE
    data = {"cause": code, "exit_code": exit_code}
    if deployment.restart_policy == RestartPolicy.NEVER or cause in _NOT_RESTARTED:
        return _ending(lifecycle.FAIL, run, why, code, exit_code=exit_code, data=data)
    good = run.started_at is not None and ended_at - run.started_at >= GOOD_RUN
    count = 1 if good else deployment.restarts + 1
    if count > deployment.max_restarts:
        reason = f"{why} No restart is left: its `max_restarts` is {deployment.max_restarts}."
        return _ending(lifecycle.FAIL, run, reason, code, exit_code=exit_code, data=data)
    ready_after = ended_at + delay(count)
    reason = f"{why} Restart {count} of {deployment.max_restarts} at {_at(ready_after)}."
    return _ending(
        lifecycle.RETRY, run, reason, BACKOFF, exit_code=exit_code, ready_after=ready_after,
        restarts=count, data=data | {"restart": count},
    )  # fmt: skip


def _sentence(run: Run, seen: Observation) -> str:
    if seen.cause is Cause.OUT_OF_MEMORY:
        return f"Ran out of memory: its limit is {run.ram_mib:,} MiB. Request more `ram_mib`."
    if seen.cause is None:
        return f"Exited with code {seen.exit_code}: see its logs."
    return seen.message or f"{_FALLBACKS[seen.cause]} Exited with code {seen.exit_code}."


def _ending(
    verb: Verb, run: Run, reason: str, code: str, *, data: dict[str, Any] | None = None, **rest: Any
) -> Ending:
    facts = {"code": code, "cluster": run.cluster_id, "run": run.pk, **(data or {})}
    return Ending(verb, Change(run.deployment_id, reason, run=run.pk, data=facts, **rest))


def _at(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"
