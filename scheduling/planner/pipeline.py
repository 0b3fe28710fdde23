"""Decide who runs where."""

from dataclasses import replace

from scheduling.planner.plan import Plan
from scheduling.planner.problem import prepare
from scheduling.planner.reasons.write_plan import Writer
from scheduling.planner.search.ordering import queue_order
from scheduling.planner.search.search import best_outcome
from scheduling.planner.snapshot import Snapshot
from scheduling.planner.suspension import suspended, suspensions


def make_plan(snapshot: Snapshot) -> Plan:
    """Return the plan for a snapshot; the same for the same snapshot in any order of its rows.

    1. Prepare: pack the vectors, find who is eligible where, who may evict whom, who starves.
    2. Try a bounded number of ways to place everything anew on paper, level by level.
    3. Keep the one with the most active deployments from the highest level down, then least harm.
    4. Write down how it differs from the present, with the reasons.
    5. If it preempts for deployments for which that led to nothing before, suspend that, and plan
       once more without.
    """
    plan = _plan(snapshot)
    found = suspensions(snapshot, plan)
    if not found:
        return plan
    return replace(_plan(suspended(snapshot, found)), suspensions=found)


def served_order(snapshot: Snapshot, plan: Plan) -> list[int]:
    """Return the ids of the ready deployments in the order in which the plan serves them.

    Deployments for which the plan suspends preemption come last, as in the next snapshot.
    """
    return queue_order(suspended(snapshot, plan.suspensions))


def _plan(snapshot: Snapshot) -> Plan:
    problem = prepare(snapshot.ranked())
    return Writer(problem, best_outcome(problem)).plan()
