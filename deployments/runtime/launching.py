"""The gate between ledger and containers: what may be launched now, and on which GPUs.

The ledger moves room from a victim to its preemptor at once. On the engine that room is taken until
the victim's container is gone, and so is the room of every container that there may be.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from clusters.drivers.base import Observation, Phase
from clusters.models import DIMENSIONS, Cluster
from deployments.models import Run

SETTLE = timedelta(seconds=30)
"""A start that nobody saw the answer of may still bring a container for so long."""

Seen = Mapping[int, Observation]


@dataclass(frozen=True, slots=True)
class Launch:
    """A run to start, with the GPUs that are its own."""

    run: Run
    devices: tuple[str, ...] = ()


def has_container(run: Run, seen: Observation | None) -> bool:
    """Whether the run has a container that takes room, as far as anybody can know."""
    if seen is None:
        return run.launched_at is not None
    return seen.phase is not Phase.EXITED


def may_appear(run: Run, now: datetime) -> bool:
    """Whether a container of a run that has none may still come, as its start was asked for."""
    if run.launched_at is None or run.started_at is not None:
        return False
    # Either way: a time that lies ahead was written by a clock that was wrong.
    return abs(now - run.launched_at) < SETTLE


def launches(
    cluster: Cluster,
    devices: Sequence[str],
    wanting: Iterable[Run],
    runs: Sequence[Run],
    seen: Seen,
    strays: Iterable[Observation] = (),
) -> list[Launch]:
    """Return what to launch now of the runs that want to be; `runs` are all unfinished ones.

    - Nothing while one of the `strays` is there, which no run knows: what it takes is not ours to
      say.
    - Only what fits beside all that may have a container, the stopping ones included.
    - Never beside an older container of the same deployment, wherever that is.
    - With `devices`, only on GPUs that no unfinished run has.

    A run whose start was asked for before has its room and its GPUs already.
    """
    if any(stray.phase is not Phase.EXITED for stray in strays):
        return []
    there = [run for run in runs if has_container(run, seen.get(run.pk))]
    room = {n: getattr(cluster, n) - sum(getattr(run, n) for run in there) for n in DIMENSIONS}
    free = _free_devices(devices, runs, seen)
    chosen = []
    for run in sorted(wanting, key=lambda r: (-r.deployment.priority, r.placed_at, r.pk)):
        if run in there:
            chosen.append(Launch(run, tuple(run.devices)))
            continue
        wanted = run.gpu if devices else 0
        if wanted > len(free) or any(getattr(run, n) > room[n] for n in DIMENSIONS):
            continue
        room = {n: room[n] - getattr(run, n) for n in DIMENSIONS}
        chosen.append(Launch(run, tuple(free[:wanted])))
        free = free[wanted:]
    return _only_oldest(chosen)


def _free_devices(devices: Sequence[str], runs: Sequence[Run], seen: Seen) -> list[str]:
    taken = {device for run in runs for device in run.devices}
    taken |= {d for o in seen.values() if o.phase is not Phase.EXITED for d in o.devices}
    return [device for device in devices if device not in taken]


def _only_oldest(chosen: list[Launch]) -> list[Launch]:
    """Leave out those beside which an older run of the same deployment may have a container."""
    if not chosen:
        return []
    deployments = [launch.run.deployment_id for launch in chosen]
    older = Run.objects.unfinished().filter(deployment__in=deployments)
    oldest = dict(older.order_by("-pk").values_list("deployment", "pk"))
    return [launch for launch in chosen if oldest.get(launch.run.deployment_id) == launch.run.pk]
