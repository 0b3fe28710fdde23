"""A plan as text for a terminal, and as JSON for programs."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from clusters.models import Cluster
from deployments.models import Deployment
from scheduling.planner.pipeline import served_order
from scheduling.planner.plan import Plan
from scheduling.planner.snapshot import Snapshot

_WAITING = 10
"""The number of waiting deployments that are listed; the others are counted."""


@dataclass(frozen=True, slots=True)
class _Names:
    """The names of the deployments and clusters in a plan, by id."""

    deployments: dict[int, str]
    clusters: dict[int, str]

    def deployment(self, pk: int) -> str:
        return f"{self.deployments.get(pk, 'deployment')} ({pk})"

    def cluster(self, pk: int) -> str:
        return f"{self.clusters.get(pk, 'cluster')} ({pk})"


def document(plan: Plan) -> dict[str, Any]:
    """Return the plan with the names of the deployments and clusters in it, by id."""
    names = _names(plan)
    return plan.to_json() | {
        "deployments": {str(pk): name for pk, name in names.deployments.items()},
        "clusters": {str(pk): name for pk, name in names.clusters.items()},
    }


def text(snapshot: Snapshot, plan: Plan) -> str:
    """Return a line of counts, then each change with its reason."""
    head = (
        f"{len(plan.placements)} would start, {len(plan.evictions)} would be evicted,"
        f" {len(plan.moves)} would move, {len(plan.wait_reasons)} would wait."
    )
    return "\n".join([head, *_lines(snapshot, plan, _names(plan))])


def _names(plan: Plan) -> _Names:
    deployments = {p.deployment for p in plan.placements} | {
        w.deployment for w in plan.wait_reasons
    }
    at = {p.cluster for p in plan.placements} | {e.cluster for e in plan.evictions}
    for e in plan.evictions:
        deployments |= {e.deployment, e.for_ or e.deployment}
    for m in plan.moves:
        deployments |= {m.deployment, m.for_ or m.deployment}
        at |= {m.source, m.target}
    return _Names(
        dict(Deployment.objects.filter(pk__in=deployments).values_list("pk", "name")),
        dict(Cluster.objects.filter(pk__in=at).values_list("pk", "name")),
    )


def _lines(snapshot: Snapshot, plan: Plan, names: _Names) -> Iterator[str]:
    priorities = {d.id: d.priority for d in snapshot.deployments}

    def line(verb: str, deployment: int, where: str, reason: str) -> str:
        what = f"{names.deployment(deployment)}, priority {priorities[deployment]}"
        return f"  {verb:<6}  {what}{where}\n          {reason}"

    for e in plan.evictions:
        where = f", from {names.cluster(e.cluster)}{_for(e.for_, names)}"
        yield line("evict", e.deployment, where, e.reason)
    for m in plan.moves:
        where = f", from {names.cluster(m.source)} to {names.cluster(m.target)}"
        yield line("move", m.deployment, where + _for(m.for_, names), m.reason)
    for p in plan.placements:
        yield line("start", p.deployment, f", on {names.cluster(p.cluster)}", p.reason)
    waits = {wait.deployment: wait for wait in plan.wait_reasons}
    waiting = [waits[pk] for pk in served_order(snapshot, plan) if pk in waits]
    for wait in waiting[:_WAITING]:
        yield line("wait", wait.deployment, "", wait.reason)
    if rest := Counter(wait.code for wait in waiting[_WAITING:]):
        codes = ", ".join(f"{count} {code}" for code, count in rest.most_common())
        yield f"  ... and {rest.total()} more wait: {codes}. --json lists all of them."


def _for(preemptor: int | None, names: _Names) -> str:
    return f", for {names.deployment(preemptor)}" if preemptor else ""
