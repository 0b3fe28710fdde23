"""What a skyline decides is what a look at everything finds."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduling.planner import shortlist
from scheduling.planner.packed import OVERDRAWN, pack
from scheduling.planner.policy import Policy
from scheduling.planner.problem import NOWHERE, prepare
from scheduling.planner.resources import Resources
from scheduling.planner.search import harm, placement
from scheduling.planner.search.coverage import closest, coverage
from scheduling.planner.search.elsewhere import is_lost
from scheduling.planner.search.harm import Choice
from scheduling.planner.search.levels import place_levels
from scheduling.planner.search.ordering import base_orders
from scheduling.planner.search.search import best_outcome
from scheduling.planner.search.skyline import Largest
from scheduling.planner.search.state import Guide, State
from tests.support.snapshots import large, policies

bounded = settings(max_examples=25, deadline=None, derandomize=True, database=None)
seeds = st.integers(0, 2**32 - 1)
vectors = st.builds(Resources, *[st.integers(0, 6)] * 3)


@bounded
@given(st.lists(vectors, max_size=12), st.lists(vectors, max_size=12))
def test_a_request_fits_into_the_largest_if_it_fits_into_one_of_all(
    amounts: list[Resources], requests: list[Resources]
) -> None:
    packed = [pack(request) for request in requests]
    largest = Largest([pack(amount) for amount in amounts])
    fitting = [d for d, request in enumerate(requests) if any(request.fits_in(a) for a in amounts)]
    assert largest.fitting(range(len(requests)), packed) == fitting
    assert [d for d, request in enumerate(packed) if largest.fits(request)] == fitting


def test_an_amount_that_is_negative_in_one_dimension_fits_nothing() -> None:
    overdrawn = pack(Resources(1, 9, 9)) - pack(Resources(2, 0, 0))
    assert overdrawn & OVERDRAWN
    assert Largest([overdrawn]).fitting([0], [0]) == []


@bounded
@given(seeds)
def test_the_closest_deployment_is_that_of_a_look_at_all_pairs(seed: int) -> None:
    random = Random(seed)
    problem = prepare(large(60, 5, Policy(), seed, nodes=3))
    free = [
        Resources(random.randint(0, most.cpu_milli), random.randint(0, most.ram_mib), most.gpu)
        for most in (bin_.capacity for bin_ in problem.bins)
    ]
    waiting = [d for d, home in enumerate(problem.home) if home == NOWHERE]
    pairs = [(d, c) for d in waiting for c in problem.eligible[d]]
    expected = max([coverage(problem.deployments[d].request, free[c]) for d, c in pairs], default=0)
    assert closest(problem, waiting, [pack(vector) for vector in free]) == expected


@bounded
@given(seeds, policies)
def test_an_attempt_is_the_same_with_a_look_at_each_deployment(seed: int, policy: Policy) -> None:
    problem = prepare(large(120, 4, policy, seed))
    attempts = []
    for fitting in (placement._fitting, lambda state, queue, guide: queue):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(placement, "_fitting", fitting)
            state = State.of(problem)
            place_levels(state, Guide(base_orders(problem)))
            attempts.append((state.where, state.effort))
    assert attempts[0] == attempts[1]
    only = State.of(problem, is_only=True)
    place_levels(only, Guide())
    assert only.where == attempts[0][0]


@bounded
@given(seeds, policies)
def test_the_node_with_the_least_harm_is_that_of_a_look_at_all_victims(
    seed: int, policy: Policy
) -> None:
    compared: list[int] = []

    def compare(state: State, d: int, crowded: list[int]) -> Choice | None:
        choice, harms = least_harm(state, d, crowded), []
        for c in crowded:
            victims, highest = state.victims(state.problem.requests[d], c)
            work = sum([state.problem.loss[v] for v in victims])
            number = sum([is_lost(state, v, c) for v in victims])
            harms.append(((highest, number, len(victims), work, c), victims))
        expected = min(harms, default=None)
        assert choice == (None if expected is None else (expected[0][-1], expected[1]))
        compared.append(len(crowded))
        return choice

    least_harm = harm.least_harm
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(placement, "least_harm", compare)
        patch.setattr(shortlist, "LARGE", 0)
        best_outcome(prepare(large(150, 6, policy, seed, nodes=3)))
    assert compared
