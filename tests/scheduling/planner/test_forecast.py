"""When waiting deployments will start: cases, and what holds for forecasts in general."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from scheduling.planner import forecast as forecast_module
from scheduling.planner.forecast import Forecast, Forecasts, Unknown
from scheduling.planner.pipeline import make_plan
from scheduling.planner.plan import Plan, Suspension
from scheduling.planner.policy import Order, Policy
from scheduling.planner.requirements import requirements
from scheduling.planner.resources import Resources
from scheduling.planner.snapshot import Cluster, ClusterState, Deployment, Node, Snapshot
from tests.support.planner_cases import NOW, active, cluster, ready

_WORLDS = 150


def forecasts(
    *rows: Cluster | Deployment, runs: Mapping[int, int] | None = None, **thresholds: Any
) -> dict[int, Forecast]:
    """Return the forecast of each ready deployment.

    Without `runs`, which has the run times by id, they are known by `max_runtime_s` only.
    """
    snapshot = Snapshot(
        NOW,
        Policy(**thresholds),
        tuple(row for row in rows if isinstance(row, Cluster)),
        tuple(row for row in rows if isinstance(row, Deployment)),
    )
    return forecasts_of(snapshot, make_plan(snapshot), runs)


def forecasts_of(
    snapshot: Snapshot, plan: Plan, runs: Mapping[int, int] | None = None
) -> dict[int, Forecast]:
    known = {d.id: d for d in snapshot.deployments}
    found = Forecasts(
        snapshot,
        plan,
        [d for d in known.values() if d.cluster is not None],
        known.__getitem__,
        lambda d, _: d.max_runtime_s if runs is None else runs.get(d.id),
    )
    return {pk: found.of(pk) for pk in plan.served}


def starts(found: Mapping[int, Forecast]) -> dict[int, int | None]:
    """Return in how many seconds each starts."""
    return {
        pk: None if each.starts_at is None else each.starts_at - NOW for pk, each in found.items()
    }


# -- cases --


def test_it_starts_when_enough_has_ended_on_one_node() -> None:
    """The first end on each of two nodes leaves too little on both."""
    found = forecasts(
        cluster(1, 2), cluster(2, 2),
        active(1, 5, 1, 1, max_runtime_s=200), active(2, 5, 1, 1, max_runtime_s=900),
        active(3, 5, 1, 2, max_runtime_s=300), active(4, 5, 1, 2, max_runtime_s=500),
        ready(5, 5, 2),
    )  # fmt: skip
    assert found == {5: Forecast(NOW + 400, (2, 2), (3, 4))}


def test_only_the_ends_count_that_it_needs() -> None:
    found = forecasts(
        cluster(1, 4),
        active(1, 5, 1, max_runtime_s=200), active(2, 5, 2, max_runtime_s=300),
        active(3, 5, 1, max_runtime_s=900), ready(4, 5, 2),
    )  # fmt: skip
    assert found == {4: Forecast(NOW + 200, (1, 1), (2,))}


def test_what_the_plan_places_starts_now_and_others_wait_for_its_end() -> None:
    found = forecasts(cluster(1, 1), ready(1, 6, 1, max_runtime_s=50), ready(2, 5, 1))
    assert found == {1: Forecast(NOW, (1, 1)), 2: Forecast(NOW + 50, (1, 1), (1,))}


def test_those_before_it_start_first_and_have_to_end() -> None:
    found = forecasts(
        cluster(1, 1), active(1, 9, 1, max_runtime_s=160),
        ready(2, 5, 1, waited=30, max_runtime_s=1000),
        ready(3, 5, 1, waited=20, max_runtime_s=1000), ready(4, 5, 1),
    )  # fmt: skip
    assert starts(found) == {2: 60, 3: 1060, 4: 2060}
    assert found[4].needs == (3,)


def test_a_small_one_passes_a_large_one_that_does_not_fit_yet() -> None:
    found = forecasts(
        cluster(1, 4), active(1, 5, 3, max_runtime_s=600), active(2, 5, 1, max_runtime_s=150),
        ready(3, 5, 4, waited=90), ready(4, 5, 1, max_runtime_s=10), order=Order.FIFO.value,
    )  # fmt: skip
    assert starts(found) == {3: 500, 4: 50}


@pytest.mark.parametrize(("preemptible", "seconds"), [(True, 500), (False, 8900)])
def test_one_that_it_may_evict_does_not_delay_it_but_others_do(
    preemptible: bool, seconds: int
) -> None:
    found = forecasts(
        cluster(1, 4), active(1, 9, 2, max_runtime_s=600),
        active(2, 1, 2, max_runtime_s=9000, preemptible=preemptible), ready(3, 5, 4),
    )  # fmt: skip
    assert starts(found) == {3: seconds}


def test_one_with_a_suspension_evicts_nothing() -> None:
    found = forecasts(
        cluster(1, 4), active(1, 9, 2, max_runtime_s=600), active(2, 1, 2, max_runtime_s=9000),
        ready(3, 5, 4, suspended_until=NOW + 5),
    )  # fmt: skip
    assert starts(found) == {3: 8900}


def test_a_lower_one_may_start_first_where_the_higher_one_does_not_fit_yet() -> None:
    """The lower one is evicted again for the higher one."""
    found = forecasts(
        cluster(1, 4), active(1, 9, 2, max_runtime_s=600), active(2, 9, 2, max_runtime_s=300),
        ready(3, 8, 4), ready(4, 1, 1, max_runtime_s=100_000),
    )  # fmt: skip
    assert starts(found) == {3: 500, 4: 200}


def test_only_its_requested_cluster_counts() -> None:
    found = forecasts(
        cluster(1, 1), cluster(2, 1),
        active(1, 5, 1, 1, max_runtime_s=200), active(2, 5, 1, 2, max_runtime_s=300),
        ready(3, 5, 1, requested_cluster=2),
    )  # fmt: skip
    assert found == {3: Forecast(NOW + 200, (2, 2), (2,))}


def test_only_nodes_with_its_labels_count() -> None:
    half = Resources(4_000, 8_192, 1)
    nodes = tuple(Node(n, half, labels={"zone": zone}) for n, zone in ((1, "a"), (2, "b")))
    found = forecasts(
        Cluster(1, half + half, nodes=nodes),
        active(1, 5, 1, node=1, max_runtime_s=200), active(2, 5, 1, node=2, max_runtime_s=300),
        ready(3, 5, 1, require=requirements({"zone": ["b"]})),
    )  # fmt: skip
    assert found == {3: Forecast(NOW + 200, (1, 2), (2,))}


@pytest.mark.parametrize("state", [ClusterState.CORDONED, ClusterState.LOST])
def test_a_closed_node_does_not_count(state: ClusterState) -> None:
    rows = active(1, 5, 1, 1, max_runtime_s=200), active(2, 5, 1, 2, max_runtime_s=300)
    found = forecasts(cluster(1, 1, state), cluster(2, 1), *rows, ready(3, 5, 1))
    assert starts(found) == {3: 200}
    only = forecasts(cluster(1, 1, state), rows[0], ready(3, 5, 1))
    assert only == {3: Forecast(unknown=Unknown.NOWHERE)}


def test_without_a_known_end_there_is_none_and_the_fewest_are_named() -> None:
    found = forecasts(
        cluster(1, 2), cluster(2, 2),
        active(1, 5, 1, 1), active(2, 5, 1, 1),
        active(3, 5, 1, 2), active(4, 5, 1, 2, max_runtime_s=200),
        ready(5, 5, 2),
    )  # fmt: skip
    assert found == {5: Forecast(place=(2, 2), needs=(3,), unknown=Unknown.ENDLESS)}


def test_one_behind_another_whose_run_time_is_unknown_waits_for_that_one() -> None:
    found = forecasts(
        cluster(1, 1), active(1, 5, 1, max_runtime_s=200), ready(2, 5, 1, waited=50), ready(3, 5, 1)
    )
    assert starts(found) == {2: 100, 3: None}
    assert (found[3].unknown, found[3].needs) == (Unknown.ENDLESS, (2,))


def test_only_the_first_of_the_queue_have_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast_module, "MOST", 2)
    rows = [ready(n, 5, 1, max_runtime_s=10) for n in range(2, 6)]
    found = forecasts(cluster(1, 1), ready(9, 7, 1, max_runtime_s=10), *rows)
    assert starts(found) == {9: 0, 2: 10, 3: 20, 4: None, 5: None}
    assert found[4].unknown == found[5].unknown == Unknown.AHEAD


def test_the_work_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast_module, "_MOST_WORK", 20)
    rows = [ready(n, 5, 1, max_runtime_s=10) for n in range(2, 20)]
    found = forecasts(cluster(1, 1), active(1, 7, 1, max_runtime_s=110), *rows)
    known = [each for each in found.values() if each.starts_at is not None]
    assert 0 < len(known) < len(rows)
    assert {each.unknown for each in found.values() if each not in known} == {Unknown.FAR}


def test_what_is_further_away_than_a_month_has_none() -> None:
    found = forecasts(cluster(1, 1), active(1, 7, 1, max_runtime_s=40 * 86_400), ready(2, 5, 1))
    assert found == {2: Forecast(unknown=Unknown.FAR)}


def test_reserved_capacity_is_kept_for_its_holder() -> None:
    """Without the reservation, the small ones would take each GPU that becomes free."""
    small = [ready(n, 5, 1, max_runtime_s=10_000) for n in range(10, 14)]
    rows: list[Cluster | Deployment] = [
        cluster(1, 2), active(1, 5, 1, max_runtime_s=300), active(2, 5, 1, max_runtime_s=400),
        *small,
    ]  # fmt: skip
    assert starts(forecasts(*rows, ready(3, 5, 2, waited=10))) == {
        10: 200, 11: 300, 12: 10_200, 13: 10_300, 3: 20_300,
    }  # fmt: skip
    found = forecasts(*rows, ready(3, 5, 2, waited=5_000, max_runtime_s=1_000))
    assert starts(found) == {3: 300, 10: 1_300, 11: 1_300, 12: 11_300, 13: 11_300}


def test_one_that_ends_in_time_may_use_reserved_capacity() -> None:
    found = forecasts(
        cluster(1, 2), active(1, 5, 1, max_runtime_s=300), active(2, 5, 1, max_runtime_s=400),
        ready(3, 5, 2, waited=5_000, max_runtime_s=1_000),
        ready(4, 5, 1, max_runtime_s=100), ready(5, 5, 1, max_runtime_s=101),
    )  # fmt: skip
    assert starts(found) == {3: 300, 4: 200, 5: 1_300}


def test_one_for_which_the_plan_suspends_preemption_evicts_nothing() -> None:
    rows = (
        active(1, 9, 2, max_runtime_s=600), active(2, 1, 2, max_runtime_s=9000), ready(3, 5, 4),
    )  # fmt: skip
    snapshot = Snapshot(NOW, Policy(), (cluster(1, 4),), rows)
    plan = make_plan(snapshot)
    suspended = replace(plan, suspensions=(Suspension(3, NOW + 5, "", ""),))
    assert starts(forecasts_of(snapshot, plan)) == {3: 500}
    assert starts(forecasts_of(snapshot, suspended)) == {3: 8900}


def test_those_that_the_plan_evicts_are_gone_from_their_nodes() -> None:
    found = forecasts(
        cluster(1, 2), active(1, 1, 1, max_runtime_s=9_000),
        ready(3, 5, 2, max_runtime_s=700), ready(4, 1, 2),
    )  # fmt: skip
    assert starts(found) == {3: 0, 4: 700}


def test_those_that_the_plan_moves_begin_anew_where_they_are_moved() -> None:
    found = forecasts(
        cluster(1, 2), cluster(2, 1), active(1, 1, 1, 1, max_runtime_s=9_000),
        ready(3, 5, 2, max_runtime_s=20_000), ready(4, 1, 1, requested_cluster=2),
    )  # fmt: skip
    assert starts(found) == {3: 0, 4: 9_000}


# -- laws --


def world(random: Random, *, nodes: int, levels: int, preempts: bool) -> tuple[Snapshot, Any]:
    """Return a snapshot, first come first served and without turns, and the run times by id."""
    clusters = tuple(
        Cluster(c, Resources(random.randint(4, 8), random.randint(4, 8), random.randint(2, 4)))
        for c in range(1, nodes + 1)
    )
    rows: list[Deployment] = []
    for c in clusters:
        left = c.capacity
        for _ in range(random.randint(2, 6)):
            request = Resources(random.randint(1, 4), random.randint(1, 4), random.randint(0, 2))
            if request.fits_in(left):
                left -= request
                placed = {"cluster": c.id, "placed_at": NOW - random.randint(1, 50)}
                rows.append(_row(random, len(rows) + 1, levels, request, preempts, **placed))
    for _ in range(6):
        request = Resources(random.randint(1, 5), random.randint(1, 5), random.randint(0, 3))
        rows.append(_row(random, len(rows) + 1, levels, request, preempts))
    policy = Policy(starvation_seconds=10**7, order=Order.FIFO.value)
    runs = {d.id: random.randint(51, 400) for d in rows}
    return Snapshot(NOW, policy, clusters, tuple(rows)), runs


def _row(
    random: Random, pk: int, levels: int, request: Resources, preempts: bool, **placed: Any
) -> Deployment:
    priority, waited = random.randint(1, levels), random.randint(50, 90)
    return Deployment(pk, priority, request, NOW - waited, preemptible=preempts, **placed)


def actual(snapshot: Snapshot, runs: Mapping[int, int]) -> dict[int, int]:
    """Return when each first starts if each ends after its run time and nothing else happens."""
    found: dict[int, int] = {}
    while True:
        plan, rows = make_plan(snapshot), {d.id: d for d in snapshot.deployments}
        for e in plan.evictions:
            rows[e.deployment] = replace(rows[e.deployment], cluster=None, placed_at=None)
        for pk, cluster_ in [
            *((m.deployment, m.target) for m in plan.moves),
            *((p.deployment, p.cluster) for p in plan.placements),
        ]:
            rows[pk] = replace(rows[pk], cluster=cluster_, placed_at=snapshot.now)
        for p in plan.placements:
            found.setdefault(p.deployment, snapshot.now)
        ends = {pk: d.placed_at + runs[pk] for pk, d in rows.items() if d.placed_at is not None}
        if not ends:
            return found
        now = min(ends.values())
        left = tuple(d for pk, d in rows.items() if ends.get(pk) != now)
        snapshot = replace(snapshot, now=now, deployments=left)


def played(**kind: Any) -> Iterator[tuple[list[int], dict[int, Forecast], dict[int, int]]]:
    """Yield the waiting ones in order, their forecasts and their starts, of quiet worlds: those in
    which the plan evicts and moves nothing, because nobody forecasts for its victims.
    """
    for seed in range(_WORLDS):
        snapshot, runs = world(Random(seed), **kind)
        plan = make_plan(snapshot)
        if not plan.evictions and not plan.moves:
            starting = {p.deployment for p in plan.placements}
            waiting = [pk for pk in plan.served if pk not in starting]
            yield waiting, forecasts_of(snapshot, plan, runs), actual(snapshot, runs)


@pytest.mark.parametrize("nodes", [1, 2, 3])
@pytest.mark.parametrize(("levels", "preempts"), [(1, False), (3, False), (3, True)])
def test_the_first_that_can_run_starts_when_it_is_forecast(
    nodes: int, levels: int, preempts: bool
) -> None:
    seen = 0
    for waiting, found, started in played(nodes=nodes, levels=levels, preempts=preempts):
        possible = [pk for pk in waiting if found[pk].unknown != Unknown.NOWHERE]
        for pk in possible[:1]:
            seen += 1
            assert found[pk].starts_at == started[pk]
    assert seen > _WORLDS / 30


@pytest.mark.parametrize("levels", [1, 3])
def test_on_one_node_without_preemption_all_start_when_they_are_forecast(levels: int) -> None:
    seen = 0
    for waiting, found, started in played(nodes=1, levels=levels, preempts=False):
        seen += len(waiting)
        assert {pk: found[pk].starts_at for pk in waiting} == {
            pk: started.get(pk) for pk in waiting
        }
    assert seen > 2 * _WORLDS


@pytest.mark.parametrize("nodes", [2, 3])
def test_on_several_nodes_nearly_all_do(nodes: int) -> None:
    """The planner also considers what fits together, and so may choose another node."""
    exact = total = 0
    for waiting, found, started in played(nodes=nodes, levels=3, preempts=False):
        exact += sum(found[pk].starts_at == started.get(pk) for pk in waiting)
        total += len(waiting)
    assert exact >= 0.98 * total


@pytest.mark.parametrize("preempts", [False, True])
def test_it_starts_at_the_last_of_the_ends_that_it_needs(preempts: bool) -> None:
    seen = 0
    for seed in range(_WORLDS):
        snapshot, runs = world(Random(seed), nodes=2, levels=3, preempts=preempts)
        rows, plan = {d.id: d for d in snapshot.deployments}, make_plan(snapshot)
        found = forecasts_of(snapshot, plan, runs)
        for each in found.values() if plan.changes_nothing else ():
            if each.starts_at is not None:
                begins = [rows[pk].placed_at or found[pk].starts_at or 0 for pk in each.needs]
                ends = [begin + runs[pk] for begin, pk in zip(begins, each.needs, strict=True)]
                assert max(ends) == each.starts_at
                seen += 1
    assert seen > _WORLDS / 30
