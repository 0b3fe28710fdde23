"""Warnings of an engine about running containers, such as a node that does not respond."""

from collections.abc import Collection, Mapping
from datetime import datetime

from clusters.drivers.base import Cause, Observation, Phase
from clusters.engines import Engine
from clusters.places import Places
from deployments import lifecycle
from deployments.choices import Status
from deployments.lifecycle import Change, update_reasons
from deployments.runtime.known import KnownRun
from deployments.runtime.lost_contact import ACTOR

KIND = "caution"


def report(
    engine: Engine, runs: Collection[KnownRun], seen: Mapping[int, Observation], now: datetime
) -> None:
    """Show a warning as the deployment's reason while it lasts; nothing else changes."""
    changes = []
    places = Places.of_rows(run for run in runs if run.status_code == Cause.NODE_LOST)
    for run in runs:
        observed = seen.get(run.pk)
        if observed is None or observed.phase is not Phase.RUNNING or run.released_at is not None:
            continue
        if observed.cause:
            reason, code = observed.message, str(observed.cause)
        elif run.status_code == Cause.NODE_LOST:
            reason, code = f"Runs on {places.of(run)}.", lifecycle.START.kind
        else:
            continue
        data = {"code": code, **engine.facts, "run": run.pk}
        changes.append(Change(run.deployment_id, reason, data=data))
    update_reasons(KIND, changes, statuses=(Status.RUNNING,), actor=ACTOR, now=now)
