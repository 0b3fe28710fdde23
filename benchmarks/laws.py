"""Plan many random worlds, and check that no plan breaks a rule."""

import json
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from benchmarks.exhaustive import Avoidable
from benchmarks.reservations import unreserved
from benchmarks.rules import Result, violations
from benchmarks.worlds import worlds
from scheduling.planner.pipeline import make_plan
from scheduling.planner.plan import Plan
from scheduling.planner.snapshot import ClusterState, Deployment, Snapshot
from scheduling.simulation.table import aligned

_CHUNK = 500  # worlds that a process checks before it reports


class Tally:
    """How many worlds reached which feature, and the sentences of each world that broke a rule."""

    def __init__(self) -> None:
        self.reached: Counter[str] = Counter()
        self.broken: dict[int, list[str]] = {}

    def add(self, number: int, snapshot: Snapshot) -> None:
        plan = make_plan(snapshot)
        self.reached["worlds"] += 1
        self.reached.update(set(features(snapshot, plan)))
        if sentences := broken(snapshot, plan, self.reached):
            self.broken[number] = sentences

    def update(self, other: "Tally") -> None:
        self.reached.update(other.reached)
        self.broken.update(other.broken)


def check(count: int, seed: int, start: int = 0) -> Tally:
    """Check worlds of a seed, from number `start` on."""
    tally = Tally()
    for number, snapshot in worlds(count, seed, start):
        tally.add(number, snapshot)
    return tally


def settles(snapshot: Snapshot, plan: Plan) -> bool:
    """Return whether planning on the result changes nothing.

    A plan that passes a turn on may be followed by another one that changes something.
    """
    for _ in range(len(snapshot.deployments) + 1):
        result = Result(snapshot, plan)
        snapshot = result.carried_out()
        plan = make_plan(snapshot)
        if plan.changes_nothing:
            return True
        if not result.passes_a_turn_on():
            return False
    return False


def broken(snapshot: Snapshot, plan: Plan, reached: Counter[str] | None = None) -> list[str]:
    """Return a sentence for each violation of a rule by the plan of a small world.

    Count in `reached` the searches for a plan with fewer evictions.
    """
    result = Result(snapshot, plan)
    sentences = [*violations(snapshot, plan), *unreserved(result)]
    if not settles(snapshot, plan):
        sentences.append("rule 11: planning on the result changes something")
    if make_plan(_reversed(snapshot)) != plan:
        sentences.append("rule 11: the order of the rows changes the plan")
    avoidable = Avoidable(result)
    sentences += avoidable.sentences()
    if reached is not None and avoidable.searched:
        reached["searched for fewer evictions"] += 1
    return sentences


def _reversed(snapshot: Snapshot) -> Snapshot:
    clusters, deployments = snapshot.clusters[::-1], snapshot.deployments[::-1]
    return replace(snapshot, clusters=clusters, deployments=deployments)


def features(snapshot: Snapshot, plan: Plan) -> Iterator[str]:
    """Yield what the snapshot contains and what its plan does."""
    result = Result(snapshot, plan)
    yield from _features_of_nodes(result)
    for d in snapshot.deployments:
        if d.requested_cluster is not None:
            yield "requested cluster"
        if d.require:
            yield "required label"
        if d.cluster is not None:
            yield from _features_of_active(result, d)
        elif result.goes_first(d.id):
            yield "turn"
    for wait in plan.wait_reasons:
        yield f"waits: {wait.code}"
    parts = ("eviction", plan.evictions), ("move", plan.moves), ("new suspension", plan.suspensions)
    yield from (name for name, rows in parts if rows)


def _features_of_nodes(result: Result) -> Iterator[str]:
    for bin_ in result.bins.values():
        if bin_.state != ClusterState.ACTIVE:
            yield f"node {bin_.state.value}"
        elif not result.is_within_capacity(bin_):
            yield "node overcommitted"
        if not bin_.is_only:
            yield "several nodes"


def _features_of_active(result: Result, d: Deployment) -> Iterator[str]:
    policy, displaced = result.snapshot.policy, result.after.get(d.id) != result.homes[d.id]
    if d.recent_preemptions >= policy.preemption_budget:
        yield "budget spent, but displaced" if displaced else "budget spent"
    if not d.preemptible:
        yield "not preemptible"
    if d.placed_at is not None and result.snapshot.now - d.placed_at < policy.min_run_seconds:
        yield "within the minimum run time"
    if d.checkpoint_at is not None and displaced:
        yield "displaced after a checkpoint"


def smallest(snapshot: Snapshot) -> Snapshot:
    """Return the snapshot without the rows that the violation does not need."""
    for less in _without_one(snapshot):
        if broken(less, make_plan(less)):
            return smallest(less)
    return snapshot


def _without_one(snapshot: Snapshot) -> Iterator[Snapshot]:
    rows, used = snapshot.deployments, {d.cluster for d in snapshot.deployments}
    for d in rows:
        yield replace(snapshot, deployments=tuple(other for other in rows if other is not d))
    for c in snapshot.clusters:
        if c.id not in used:
            rest = tuple(other for other in snapshot.clusters if other is not c)
            yield replace(snapshot, clusters=rest)


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--count", type=int, default=100_000, help="number of worlds (100,000)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the worlds (1)")
    parser.add_argument("--processes", type=int, default=2, help="processes to use (2)")
    parser.add_argument(
        "--write", type=Path, help="file for the smallest snapshot that breaks a rule, as JSON"
    )


def command(options: Mapping[str, Any], out: Callable[[str], object]) -> None:
    count, seed = options["count"], options["seed"]
    tally = Tally()
    for part in _parts(count, seed, options["processes"]):
        tally.update(part)
    rows = [[name, f"{number:,}"] for name, number in sorted(tally.reached.items())]
    for line in aligned([["reached", "worlds"], *rows]):
        out(line)
    for number, sentences in tally.broken.items():
        out(f"world {number}: {'; '.join(sentences)}")
    if not tally.broken:
        out("No plan breaks a rule.")
        return
    if options["write"]:
        options["write"].write_text(json.dumps(_smallest_of(tally, seed).to_json(), indent=1))
    raise CommandError(f"{len(tally.broken)} of {count} plans break a rule.")


def _parts(count: int, seed: int, processes: int) -> Iterator[Tally]:
    starts = range(0, count, _CHUNK)
    sizes = [min(_CHUNK, count - start) for start in starts]
    if processes == 1:
        yield from map(check, sizes, repeat(seed), starts)
        return
    with ProcessPoolExecutor(processes) as pool:
        yield from pool.map(check, sizes, repeat(seed), starts)


def _smallest_of(tally: Tally, seed: int) -> Snapshot:
    found = [smallest(s) for number in tally.broken for _, s in worlds(1, seed, number)]
    return min(found, key=lambda s: (len(s.deployments), len(s.clusters)))
