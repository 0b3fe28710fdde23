"""A plan as text for a terminal, and as JSON for programs."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from clusters.places import Places
from deployments.models import Deployment
from scheduling.planner.plan import Plan
from scheduling.planner.snapshot import Snapshot

_WAITING = 10
"""The number of waiting deployments that are listed; the others are counted."""


@dataclass(frozen=True, slots=True)
class _Names:
    """The names of the deployments and clusters in a plan, by id."""

    deployments: dict[int, str]
    places: Places

    def deployment(self, pk: int) -> str:
        return f"{self.deployments.get(pk, 'deployment')} ({pk})"

    def place(self, cluster: int, node: int) -> str:
        return f"{self.places.name(cluster, node) or 'cluster'} ({cluster})"


def document(plan: Plan) -> dict[str, Any]:
    """Return the plan with the names of the deployments and places in it, by id."""
    names = _names(plan)
    return plan.to_json() | {
        "deployments": {str(pk): name for pk, name in names.deployments.items()},
        "clusters": {str(pk): name for pk, name in names.places.clusters.items()},
        "nodes": {str(pk): name for pk, name in names.places.nodes.items()},
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
    at = [(p.cluster, p.node) for p in plan.placements]
    at += [(e.cluster, e.node) for e in plan.evictions]
    for e in plan.evictions:
        deployments |= {e.deployment, e.for_ or e.deployment}
    for m in plan.moves:
        deployments |= {m.deployment, m.for_ or m.deployment}
        at += [(m.source, m.node), (m.target, m.target_node)]
    return _Names(
        dict(Deployment.objects.filter(pk__in=deployments).values_list("pk", "name")),
        Places.named(at),
    )


def _lines(snapshot: Snapshot, plan: Plan, names: _Names) -> Iterator[str]:
    priorities = {d.id: d.priority for d in snapshot.deployments}

    def line(verb: str, deployment: int, where: str, reason: str) -> str:
        what = f"{names.deployment(deployment)}, priority {priorities[deployment]}"
        return f"  {verb:<6}  {what}{where}\n          {reason}"

    for e in plan.evictions:
        where = f", from {names.place(e.cluster, e.node)}{_for(e.for_, names)}"
        yield line("evict", e.deployment, where, e.reason)
    for m in plan.moves:
        source = names.place(m.source, m.node)
        where = f", from {source} to {names.place(m.target, m.target_node)}"
        yield line("move", m.deployment, where + _for(m.for_, names), m.reason)
    for p in plan.placements:
        yield line("start", p.deployment, f", on {names.place(p.cluster, p.node)}", p.reason)
    waits = {wait.deployment: wait for wait in plan.wait_reasons}
    waiting = [waits[pk] for pk in plan.served if pk in waits]
    for wait in waiting[:_WAITING]:
        yield line("wait", wait.deployment, "", wait.reason)
    if rest := Counter(wait.code for wait in waiting[_WAITING:]):
        codes = ", ".join(f"{count} {code}" for code, count in rest.most_common())
        yield f"  ... and {rest.total()} more wait: {codes}. --json lists all of them."


def _for(preemptor: int | None, names: _Names) -> str:
    return f", for {names.deployment(preemptor)}" if preemptor else ""
