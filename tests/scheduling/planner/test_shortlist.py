"""A plan that leaves out deployments that certainly wait is the plan of all deployments."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from random import Random

import pytest

from benchmarks.worlds import worlds
from scheduling.planner import pipeline, shortlist
from scheduling.planner.pipeline import make_plan
from scheduling.planner.plan import Plan
from scheduling.planner.policy import Order, Policy
from scheduling.planner.problem import Problem, prepare
from scheduling.planner.resources import Resources
from scheduling.planner.shortlist import Backlog, Group
from scheduling.planner.snapshot import Cluster, Deployment, Snapshot
from tests.support.snapshots import large

_WORLDS = 800
_LARGE_WORLDS = 60


@pytest.fixture(autouse=True)
def small_worlds_count_as_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shortlist, "LARGE", 0)
    monkeypatch.setattr(pipeline, "WORTHWHILE", 1)


def everything(plan: Plan) -> object:
    return plan.to_json(), list(plan.served)


def test_the_position_of_one_deployment_is_that_in_the_whole_order() -> None:
    for number, snapshot in worlds(50, 3):
        whole = list(make_plan(snapshot).served)
        for place, deployment in enumerate(whole, start=1):
            served = make_plan(snapshot).served  # which nothing has read yet
            assert served.position(deployment) == place, f"world {number}"
        assert make_plan(snapshot).served.position(0) is None


def full_plan(snapshot: Snapshot) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "WORTHWHILE", 0)
        return everything(make_plan(snapshot))


def left_out(snapshot: Snapshot, *, with_reservations: bool = False) -> int:
    decided = pipeline.decide_shortlist(snapshot, Backlog.of(snapshot.deployments))
    if decided is None or (with_reservations and not decided[1].reservations):
        return 0
    return len(decided[0].left_out)


def large_worlds() -> Iterator[Snapshot]:
    """Yield large worlds; in half of them most of the ready deployments have low priorities."""
    random = Random(3)
    for seed in range(_LARGE_WORLDS):
        policy = Policy(
            order=random.choice(list(Order)),
            starvation_seconds=random.choice([0, 50, 900, 10**9]),
            preemption_budget=random.choice([1, 3]),
        )
        size, clusters = random.choice([60, 200, 400]), random.choice([1, 4, 20, 70])
        snapshot = large(size, clusters, policy, seed, nodes=random.choice([1, 1, 3]))
        if seed % 2:
            rows = [
                d if d.cluster else replace(d, priority=d.priority // 3)
                for d in snapshot.deployments
            ]
            snapshot = replace(snapshot, deployments=tuple(rows))
        yield snapshot


def test_the_plan_of_a_small_world_is_the_same() -> None:
    number_left_out = 0
    for number, snapshot in worlds(_WORLDS, seed=11):
        assert everything(make_plan(snapshot)) == full_plan(snapshot), f"world {number}"
        number_left_out += left_out(snapshot)
    assert number_left_out >= 50


def test_the_plan_of_a_large_world_is_the_same() -> None:
    number_left_out = beside_reservations = 0
    for number, snapshot in enumerate(large_worlds()):
        assert everything(make_plan(snapshot)) == full_plan(snapshot), f"world {number}"
        number_left_out += left_out(snapshot)
        beside_reservations += left_out(snapshot, with_reservations=True)
    assert number_left_out >= 500
    assert beside_reservations >= 50


def test_the_reason_of_one_deployment_is_that_among_all() -> None:
    for number, snapshot in enumerate(large_worlds()):
        reasons = {wait.deployment: wait.reason for wait in make_plan(snapshot).wait_reasons}
        plan = make_plan(snapshot)
        for d in snapshot.deployments:
            wait = plan.wait_reason(d.id)
            assert (wait and wait.reason) == reasons.get(d.id), f"world {number}"
        assert plan.wait_reason(0) is None


def test_a_shortlist_that_stays_the_same_beside_a_reservation_is_planned_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plans: list[int] = []

    def counted(snapshot: Snapshot, rows: Sequence[Deployment], backlog: Backlog) -> Problem:
        plans.append(len(rows))
        return prepare(snapshot, rows, backlog)

    monkeypatch.setattr(pipeline, "prepare", counted)
    policy = Policy(starvation_seconds=10)
    clusters = (Cluster(1, Resources(2000, 2048, 0)),)
    active = Deployment(1, 9, Resources(1500, 1024, 0), 0, cluster=1, placed_at=0)
    waiting = [Deployment(n, 5, Resources(1000 + n, 1024, 0), n) for n in range(2, 100)]
    snapshot = Snapshot(1000, policy, clusters, (active, *waiting))

    assert len(make_plan(snapshot).reserved) == 1
    assert len(plans) == 1
    assert plans[0] < len(waiting)

    waiting[50] = replace(waiting[50], preemptible=False)
    make_plan(replace(snapshot, deployments=(active, *waiting)))
    assert len(plans) == 3, "what may not be evicted is planned beside the reservation"


def test_a_backlog_that_follows_changes_equals_a_new_one() -> None:
    random, snapshot = Random(5), large(400, 4, Policy(starvation_seconds=50), seed=5)
    rows, backlog = list(snapshot.deployments), Backlog.of(snapshot.deployments)
    for _ in range(300):
        at = random.randrange(len(rows))
        change = random.choice(["remove", "add", "priority", "request"])
        if change == "remove":
            del rows[at]
        elif change == "add":
            rows.append(replace(rows[at], id=10_000 + random.randrange(10**9), cluster=None))
        elif change == "priority":
            rows[at] = replace(rows[at], priority=random.randrange(4))
        else:
            rows[at] = replace(rows[at], request=random.choice(rows).request)
        backlog = backlog.follow(tuple(rows))
        new = Backlog.of(tuple(rows))
        assert backlog.others == new.others
        assert {k: g.members for k, g in backlog.groups.items()} == {
            k: g.members for k, g in new.groups.items()
        }
        for kind, group in new.groups.items():
            assert requests(backlog.groups[kind]) == requests(group)
        number = random.choice([1, 4, 16, 1000])
        assert backlog.heaviest(number) == heaviest(rows)[:number]
        ready = [d for d in rows if d.cluster is None and d.suspended_until is None]
        planned = random.sample(ready, random.randrange(len(ready)))
        some = random.sample(planned, len(planned) // 2)
        left_out = {kind_of(d) for d in ready if d not in planned} - set(map(kind_of, some))
        assert backlog.distinct_left_out(planned, some) == len(left_out)


def kind_of(d: Deployment) -> object:
    return d.priority, d.requested_cluster, d.require, d.request


def heaviest(rows: Sequence[Deployment]) -> list[tuple[Deployment, int]]:
    """Return the last deployment of each kind of request and the GPUs of all of this kind."""
    alike: dict[object, list[Deployment]] = {}
    for d in sorted(rows, key=lambda d: d.id):
        alike.setdefault((d.requested_cluster, d.require, d.request), []).append(d)
    weights = [(each[-1], len(each) * each[-1].request.gpu) for each in alike.values()]
    return sorted([each for each in weights if each[1]], key=lambda each: (-each[1], each[0].id))


def requests(group: Group) -> list[Resources]:
    return sorted([d.request for d in group.smallest], key=str)


def test_all_of_a_level_are_planned_when_one_of_it_starts() -> None:
    """The smallest starts, and what is left is enough for a larger one."""
    one, two = Resources(1000, 1024, 0), Resources(2000, 2048, 0)
    clusters = (Cluster(1, Resources(3000, 3072, 0)),)
    rows = tuple(Deployment(n, 1, request, 0) for n, request in enumerate([one, two], 1))

    plan = make_plan(Snapshot(100, Policy(), clusters, rows))

    assert [p.deployment for p in plan.placements] == [1, 2]


def test_parts_of_the_order_are_those_of_the_whole_order() -> None:
    random = Random(1)
    for number, snapshot in worlds(50, 3):
        whole = list(make_plan(snapshot).served)
        among = set(random.sample(whole, len(whole) // 2))
        places = {pk: place for place, pk in enumerate(whole, start=1)}
        first = random.randrange(len(whole) + 1)
        last = random.choice([None, first, first + 2])
        served = make_plan(snapshot).served
        found = [(places[pk], pk) for pk in whole if pk in among]
        assert list(served.numbered(among, first, last)) == found[first:last], f"world {number}"
        assert served[first:last] == whole[first:last], f"world {number}"
