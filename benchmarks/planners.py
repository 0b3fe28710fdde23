"""The planners that the bench `quality` compares, from the simplest to the product's."""

from collections.abc import Callable, Iterable, Mapping
from itertools import islice

from scheduling.planner.pipeline import make_plan
from scheduling.planner.plan import Plan
from scheduling.planner.problem import Problem, prepare
from scheduling.planner.reasons.write_plan import Writer
from scheduling.planner.search.levels import place_levels
from scheduling.planner.search.ordering import Orders, measures
from scheduling.planner.search.search import score
from scheduling.planner.search.state import Guide, State
from scheduling.planner.snapshot import Snapshot
from scheduling.simulation.baselines import kube_preemption, naive_preemption, strict_priority

Planner = Callable[[Snapshot], Plan]


def oldest_first(snapshot: Snapshot) -> Plan:
    """Place all deployments again, level by level: the active ones first, then the oldest."""
    problem = prepare(snapshot)
    rows = problem.deployments
    return _best(
        problem,
        [
            tuple(
                sorted(level.ready + level.drained, key=lambda d: (rows[d].queued_at, d))
                for level in problem.levels
            )
        ],
    )


def smallest_first(snapshot: Snapshot) -> Plan:
    """Place all deployments again, level by level: the active ones first, then the smallest."""
    problem = prepare(snapshot)
    return _best(problem, [next(measures(problem)).orders])


def best_of_seven(snapshot: Snapshot) -> Plan:
    """Place all deployments again with each of seven measures of size, and take the best."""
    problem = prepare(snapshot)
    return _best(problem, [measure.orders for measure in islice(measures(problem), 7)])


def _best(problem: Problem, attempts: Iterable[Orders]) -> Plan:
    outcomes = []
    for orders in attempts:
        state = State.of(problem)
        place_levels(state, Guide(orders))
        outcomes.append(state.outcome())
    return Writer(problem, min(outcomes, key=score)).plan()


PLANNERS: Mapping[str, Planner] = {
    "strict priority, no preemption": strict_priority,
    "naive preemption": naive_preemption,
    "kube-style: remove lower, fit, restore": kube_preemption,
    "re-place everything, oldest first": oldest_first,
    "the same, smallest first": smallest_first,
    "the best of seven such plans": best_of_seven,
    "this planner": make_plan,
}
