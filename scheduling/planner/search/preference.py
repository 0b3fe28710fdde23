"""Weigh the nodes that deployments prefer, which decide among equal plans only."""

from collections.abc import Iterator, Mapping

from scheduling.planner.problem import NOWHERE, Problem
from scheduling.planner.requirements import Preference

_TRIALS = 16  # deployments that are given the node that they prefer one after the other


class Preferences:
    """The preferences of the ready deployments.

    `weights[d]` has for each node the sum of the weights of those that the node satisfies.
    """

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        known: dict[tuple[Preference, ...], list[int]] = {}
        self.weights: dict[int, list[int]] = {}
        for d, deployment in enumerate(problem.deployments):
            if deployment.prefer and problem.home[d] == NOWHERE:
                if deployment.prefer not in known:
                    known[deployment.prefer] = _weigh(problem, deployment.prefer)
                self.weights[d] = known[deployment.prefer]

    def satisfied(self, where: Mapping[int, int]) -> int:
        """Return the sum of the weights that the placements satisfy."""
        return sum([weights[where[d]] for d, weights in self.weights.items() if d in where])

    def trials(self, where: Mapping[int, int]) -> Iterator[set[int]]:
        """Yield deployments that could satisfy more: first all of them, then some one by one."""
        wanting = [
            d
            for d, weights in self.weights.items()
            if d in where
            and weights[where[d]] < max([weights[c] for c in self._problem.eligible[d]])
        ]
        if wanting:
            yield set(wanting)
        if len(wanting) > 1:
            yield from ({d} for d in wanting[:_TRIALS])


def _weigh(problem: Problem, prefer: tuple[Preference, ...]) -> list[int]:
    return [
        sum([p.weight for p in prefer if p.requirement.holds(bin_.node.labels)])
        for bin_ in problem.bins
    ]
