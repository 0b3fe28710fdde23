"""The engines' part of `manage.py verify`: do their containers agree with the ledger?"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from django.conf import settings
from django.utils import timezone

from clusters import engines
from clusters.drivers.base import Observation, Phase
from clusters.engines import Engine
from clusters.models import Cluster
from deployments.runtime import claims
from deployments.runtime.claims import Inventory
from deployments.runtime.launching import SETTLE
from deployments.runtime.lock import exclusive_access
from deployments.runtime.models import Run
from deployments.runtime.requests import clusters_to_reconcile
from hypervisor.base.errors import DomainError

_POLL_S = 1.0
_REMEDY = "`manage.py claim_engine` shows its containers and takes it over."


@dataclass(slots=True)
class Comparison:
    """The result of a comparison.

    `compared` counts engines. `differences` has a sentence for each difference, `silent` one for
    each engine that could not be compared.
    """

    compared: int = 0
    differences: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)


def compare_engines() -> Comparison:
    """Compare each engine with the ledger; what the next reconciliation fixes does not count."""
    result = Comparison()
    clusters = Cluster.objects.filter(pk__in=list(clusters_to_reconcile())).order_by("pk")
    for engine in (engine for cluster in clusters for engine in engines.of_cluster(cluster)):
        try:
            result.differences += _lasting(engine)
            result.compared += 1
        except DomainError as error:
            result.silent.append(f"{_name(engine)}: {error.detail}")
    return result


def _lasting(engine: Engine) -> list[str]:
    """Return the differences that remain after the worker has had two intervals to fix them."""
    deadline = time.monotonic() + 2 * settings.RECONCILE_INTERVAL + _POLL_S
    found = _differences(engine)
    while found and time.monotonic() < deadline:
        time.sleep(_POLL_S)
        still = set(_differences(engine))
        found = [sentence for sentence in found if sentence in still]
    return found


def _differences(engine: Engine) -> list[str]:
    # The lock keeps the worker from launching or removing anything between the two reads.
    with exclusive_access(engine):
        found = claims.inventory(engine)
        seen = {run.pk for run, _ in found.known}
        missing = list(_missing(engine, seen))
    return [f"{what} on {_name(engine)}: {detail}" for what, detail in [*_of(found), *missing]]


def _name(engine: Engine) -> str:
    return f"cluster {engine.cluster.pk} ({engine.where})"


def _of(found: Inventory) -> Iterator[tuple[str, str]]:
    if found.objection:
        yield "engine not claimed by this installation", f"{found.objection} {_REMEDY}"
    for stray in found.unknown:
        yield "container unknown to this database", _about(stray)
    for stray in found.orphans:
        yield "container of a run that has ended", _about(stray)
    for run, container in found.known:
        if run.released_at is None and container.image and not _fits(run, container):
            yield "container with another image or command", f"run {run.pk} has {_about(container)}"


def _missing(engine: Engine, seen: set[int]) -> Iterator[tuple[str, str]]:
    runs = Run.objects.current().launched().filter(engine.placed).exclude(pk__in=seen)
    for run in runs:
        settled = run.launched_at and timezone.now() - run.launched_at > SETTLE
        if run.started_at or settled:
            yield "run without its container", f"run {run.pk} of deployment {run.deployment_id}"


def _fits(run: Run, container: Observation) -> bool:
    deployment = run.deployment
    command = tuple(deployment.command)
    return container.image == deployment.image and (not command or container.command == command)


def _about(container: Observation) -> str:
    state = "ended" if container.phase is Phase.EXITED else "running"
    what = " ".join((container.image, *container.command)).strip()
    return f"{container.name or container.uid} ({what or 'image unknown'}), {state}"
