"""Decide which deployment runs on which node."""

from dataclasses import replace
from functools import partial

from scheduling.planner.plan import Plan, Served, Suspension
from scheduling.planner.problem import prepare
from scheduling.planner.reasons.write_plan import Writer
from scheduling.planner.search.ordering import served_order
from scheduling.planner.search.search import best_outcome
from scheduling.planner.snapshot import Snapshot
from scheduling.planner.suspension import suspended, suspensions


def make_plan(snapshot: Snapshot) -> Plan:
    """Return the plan for a snapshot. The order of the snapshot's rows does not matter.

    1. Prepare: pack the vectors; find the eligible clusters, the priorities that may evict each
       deployment, and the starved deployments.
    2. Place all deployments on paper, level by level, in a bounded number of attempts.
    3. Keep the attempt with the most active deployments from the highest level down, then with the
       least harm.
    4. Write how it differs from the present, with the reasons.
    5. If it preempts for a deployment whose earlier preemptions freed capacity that it never used,
       suspend preemption for that deployment and plan again, until there is none.
    """
    plan = _plan(snapshot)
    found: tuple[Suspension, ...] = ()
    while more := suspensions(snapshot, plan):
        found += more
        plan = _plan(suspended(snapshot, found))
    return replace(plan, suspensions=tuple(sorted(found, key=lambda s: s.deployment)))


def _plan(snapshot: Snapshot) -> Plan:
    problem = prepare(snapshot)
    plan = Writer(problem, best_outcome(problem)).plan()
    return replace(plan, served=Served(partial(served_order, problem)))
