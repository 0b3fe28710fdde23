"""Which runs may start their container now, and on which GPUs.

In the ledger, a victim's resources are allocated to its preemptor at once. On the engine they are
in use until the victim's container is gone; the same holds for every container that may exist.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from clusters.capacity import Capacity
from clusters.drivers.base import Observation, Phase
from clusters.models import Node
from deployments.runtime.known import KnownRun
from deployments.runtime.models import Run

SETTLE = timedelta(seconds=30)
"""How long a container may still appear after a start whose response was lost."""

Seen = Mapping[int, Observation]


@dataclass(frozen=True, slots=True)
class Launch:
    """A run to start, and the ids of the GPUs for its container."""

    run: KnownRun
    devices: tuple[str, ...] = ()


def has_container(run: KnownRun, seen: Observation | None) -> bool:
    """Whether the run has, or may have, a container that uses resources."""
    if seen is None:
        return run.launched_at is not None
    return seen.phase is not Phase.EXITED


def may_appear(run: KnownRun, now: datetime) -> bool:
    """Whether a container of this run may still appear, because its start was requested lately."""
    if run.launched_at is None or run.started_at is not None:
        return False
    # abs(): a time in the future was written by a clock that was wrong.
    return abs(now - run.launched_at) < SETTLE


def launches(
    nodes: Iterable[Node],
    devices: Sequence[str],
    wanting: Iterable[KnownRun],
    runs: Sequence[KnownRun],
    seen: Seen,
    strays: Iterable[Observation] = (),
) -> list[Launch]:
    """Return the launches that are possible now, of the runs in `wanting`.

    `nodes` are those of the cluster, `runs` all its unfinished runs, `seen` their containers by the
    run's id, `strays` the containers that belong to none of them, and `devices` the ids of the
    engine's GPUs if the hypervisor chooses them. Runs of the same priority are launched in the
    order of `wanting`.

    - Nothing is launched while a stray runs, because the resources that it uses are unknown.
    - A run must fit in what is left on its node by all runs that may have a container there,
      including stopping ones.
    - A run waits for every older container of its deployment, on any cluster.
    - With `devices`, a run gets only GPUs that no other unfinished run has.

    A run whose start was requested before keeps its resources and its GPUs.
    """
    if any(stray.phase is not Phase.EXITED for stray in strays):
        return []
    present = [run for run in runs if has_container(run, seen.get(run.pk))]
    may_have_one = {run.pk for run in present}
    free = _free(nodes, present)
    free_devices = _free_devices(devices, runs, seen)
    chosen = []
    for run in sorted(wanting, key=lambda run: -run.priority):
        if run.pk in may_have_one:
            chosen.append(Launch(run, tuple(run.devices)))
            continue
        wanted = run.gpu if devices else 0
        there, request = free.get(run.node_id), Capacity.of(run)
        if there is None or not there.holds(request) or wanted > len(free_devices):
            continue
        free[run.node_id] = there - request
        chosen.append(Launch(run, tuple(free_devices[:wanted])))
        free_devices = free_devices[wanted:]
    return _only_oldest(chosen)


def _free(nodes: Iterable[Node], present: Iterable[KnownRun]) -> dict[int | None, Capacity]:
    """Return by node's id what is left by the runs that may have a container."""
    free: dict[int | None, Capacity] = {node.pk: Capacity.of(node) for node in nodes}
    for run in present:
        if run.node_id in free:
            free[run.node_id] -= Capacity.of(run)
    return free


def _free_devices(devices: Sequence[str], runs: Sequence[KnownRun], seen: Seen) -> list[str]:
    used = {device for run in runs for device in run.devices}
    used |= {d for o in seen.values() if o.phase is not Phase.EXITED for d in o.devices}
    return [device for device in devices if device not in used]


def _only_oldest(chosen: list[Launch]) -> list[Launch]:
    """Keep only launches of the deployment's oldest unfinished run: older containers end first."""
    if not chosen:
        return []
    deployments = [launch.run.deployment_id for launch in chosen]
    older = Run.objects.unfinished().filter(deployment__in=deployments)
    oldest = dict(older.order_by("-pk").values_list("deployment", "pk"))
    return [launch for launch in chosen if oldest.get(launch.run.deployment_id) == launch.run.pk]
