"""Which reservations rule 9 of docs/scheduling.md demands, as a predicate on a snapshot's plan."""

from collections.abc import Iterator

from benchmarks.rules import Result, total
from scheduling.planner.snapshot import Deployment, Place


def unreserved(result: Result) -> Iterator[str]:
    """Yield the deployments for which the plan reserves no capacity, although rule 9 demands it.

    A deployment that takes turns waits, and fits on no node. Then a node is reserved for it if it
    is its turn or if it will fit there soon, unless all are reserved for others.
    """
    holders = result.holders()
    for id_, has_turn in result.taking_turns.items():
        d = result.deployments[id_]
        if id_ in result.after or id_ in holders:
            continue
        nodes = [place for place, bin_ in result.bins.items() if result.is_eligible(bin_, d)]
        if any(not result.is_reserved(p, d) and _fits(result, d, p) for p in nodes):
            continue
        soon = 2 * result.snapshot.now - d.waits_since
        open_ = [place for place in nodes if place not in holders.values()]
        if open_ and (has_turn or any(_fits(result, d, place, soon) for place in open_)):
            yield f"rule 9: no capacity is reserved for {id_}"


def _fits(result: Result, d: Deployment, place: Place, at: int | None = None) -> bool:
    """Return whether d fits on the node next to those before it, at a moment or now.

    They are the higher priorities and those that stay and that d may not evict, without those that
    have ended by that moment at the latest.
    """
    before = [
        other
        for other in result.on(place)
        if other.priority > d.priority
        or (result.homes.get(other.id) == place and not result.evictable(other, d.priority))
    ]
    if at is not None:
        before = [other for other in before if not _ends_by(result, other, place, at)]
    return total([d, *before]).fits_in(result.bins[place].capacity)


def _ends_by(result: Result, other: Deployment, place: Place, moment: int) -> bool:
    since = other.placed_at if result.homes.get(other.id) == place else None
    began = result.snapshot.now if since is None else since
    return other.max_runtime_s is not None and began + other.max_runtime_s <= moment
