"""Decide which deployment runs on which node."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from scheduling.planner.outcome import Outcome
from scheduling.planner.plan import Plan, Suspension
from scheduling.planner.problem import Problem, eligibility_of, prepare
from scheduling.planner.queue_order import Served
from scheduling.planner.reasons.write_plan import Writer
from scheduling.planner.search.search import best_outcome
from scheduling.planner.served import all_levels, planned_levels
from scheduling.planner.shortlist import Backlog, is_large, terms_of
from scheduling.planner.snapshot import Deployment, Snapshot
from scheduling.planner.suspension import suspended, suspensions

WORTHWHILE = 0.5
"""The largest part of the deployments that a shortlist may have."""

_ROUNDS = 3
"""How many plans of a shortlist are tried before one of everything."""


def make_plan(snapshot: Snapshot, backlog: Backlog | None = None) -> Plan:
    """Return the plan for a snapshot. The order of the snapshot's rows does not matter.

    `backlog` is that of the snapshot's deployments, if it is known already.

    1. Prepare: pack the vectors; find the eligible clusters, the priorities that may evict each
       deployment, and the starved deployments. Of very many deployments, leave out those that
       certainly wait.
    2. Place all deployments on paper, level by level, in a bounded number of attempts.
    3. Keep the attempt with the most active deployments from the highest level down, then with the
       least harm.
    4. Write how it differs from the present, with the reasons.
    5. If it preempts for a deployment whose earlier preemptions freed capacity that it never used,
       suspend preemption for that deployment and plan again, until there is none.
    """
    if backlog is None and is_large(snapshot):
        backlog = Backlog.of(snapshot.deployments)
    plan, planned = _plan(snapshot, backlog)
    found: tuple[Suspension, ...] = ()
    while more := suspensions(snapshot, plan, planned):
        found += more
        after = suspended(snapshot, found)
        plan, planned = _plan(after, backlog and backlog.follow(after.deployments))
    return replace(plan, suspensions=tuple(sorted(found, key=lambda s: s.deployment)))


def _plan(snapshot: Snapshot, backlog: Backlog | None) -> tuple[Plan, Sequence[Deployment]]:
    """Return the plan, and the deployments that it has not left out."""
    decided = decide_shortlist(snapshot, backlog) if backlog and is_large(snapshot) else None
    problem, outcome = decided or _decide(prepare(snapshot))
    plan = Writer(problem, outcome).plan()
    levels = partial(planned_levels, problem)
    if backlog and problem.has_left_out:
        levels = partial(all_levels, problem, backlog)
    return replace(plan, served=Served(levels)), problem.deployments[: problem.planned]


def _decide(problem: Problem) -> tuple[Problem, Outcome]:
    return problem, best_outcome(problem)


def decide_shortlist(snapshot: Snapshot, backlog: Backlog) -> tuple[Problem, Outcome] | None:
    """Return the outcome for the snapshot by a search that leaves deployments out.

    None if that would not be certain, or not cheaper.
    """
    if len(backlog.others) > WORTHWHILE * len(snapshot.deployments):
        return None
    eligibility = eligibility_of(
        snapshot, [d for d in backlog.others.values() if d.cluster is not None]
    )
    levels: set[int] = set()
    terms: tuple[str, ...] = ()
    always = backlog.always_planned(snapshot, eligibility.is_eligible)
    chosen = backlog.shortlist(always, levels, terms)
    for _ in range(_ROUNDS):
        if len(chosen) > WORTHWHILE * len(snapshot.deployments):
            return None
        problem, outcome = _decide(prepare(snapshot, chosen, backlog))
        needed = terms_of([r.until for r in outcome.reservations.values()])
        started = {
            level.priority
            for level in problem.levels
            if not outcome.where.keys().isdisjoint(level.ready + level.drained)
        }
        short = backlog.left_out(started, {d.id for d in chosen})
        if not short and set(needed) <= set(terms):
            return problem, outcome
        levels |= short
        terms, before = max(terms, needed, key=len), chosen
        chosen = backlog.shortlist(always, levels, terms)
        if chosen == before:
            return problem, outcome
    return None
