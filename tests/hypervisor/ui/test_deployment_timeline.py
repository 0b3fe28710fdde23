"""The timeline of a deployment."""

from datetime import UTC, datetime, timedelta

import pytest

from clusters.models import Cluster
from deployments.models import Deployment
from deployments.runtime.models import Run
from hypervisor.ui.data.deployment_timeline import RUNS_SHOWN, Row, draw
from orgs.models import Event

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
NORTH, SOUTH = Cluster(pk=1, name="north"), Cluster(pk=2, name="south")


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def deployment(**fields: object) -> Deployment:
    return Deployment(pk=1, name="job", created_at=START, **fields)


def event(seconds: float, kind: str, status: str | None = None) -> Event:
    return Event(time=at(seconds), kind=kind, status=status)


def run(
    cluster: Cluster, placed: float, started: float | None, released: float | None = None,
    ended: float | None = None,
) -> Run:  # fmt: skip
    times = (None if s is None else at(s) for s in (started, released, ended))
    started_at, released_at, ended_at = times
    return Run(
        cluster=cluster, placed_at=at(placed), launched_at=at(placed), started_at=started_at,
        released_at=released_at, ended_at=ended_at,
    )  # fmt: skip


def spans(row: Row) -> list[tuple[str, float, float]]:
    return [(span.kind, span.x, span.width) for span in row.spans]


def test_the_states_follow_each_other_over_the_whole_time() -> None:
    events = [
        event(0, "submitted", "pending"), event(40, "placed", "starting"),
        event(50, "running", "running"), event(90, "evicted", "pending"),
    ]  # fmt: skip

    timeline = draw(deployment(), [], events, now=at(100))

    assert spans(timeline.rows[0]) == [
        ("pending", 0, 40), ("starting", 40, 10), ("running", 50, 40), ("pending", 90, 10),
    ]  # fmt: skip


def test_a_hold_is_a_state_of_its_own_until_it_is_released() -> None:
    events = [event(0, "submitted", "pending"), event(20, "held"), event(60, "released")]

    timeline = draw(deployment(), [], events, now=at(100))

    assert spans(timeline.rows[0]) == [("pending", 0, 20), ("held", 20, 40), ("pending", 60, 40)]


def test_each_cluster_has_a_row_and_each_run_its_phases() -> None:
    runs = [run(NORTH, 0, 10, 40, 50), run(SOUTH, 40, 50), run(NORTH, 90, None)]

    timeline = draw(deployment(), runs, [], now=at(100))

    assert [row.label for row in timeline.rows] == ["State", "north", "south"]
    assert spans(timeline.rows[1]) == [
        ("starting", 0, 10), ("running", 10, 30), ("ending", 40, 10), ("starting", 90, 10),
    ]  # fmt: skip
    assert spans(timeline.rows[2]) == [("starting", 40, 10), ("running", 50, 50)]


def test_the_timeline_of_an_ended_deployment_ends_with_its_last_container() -> None:
    done = deployment(finished_at=at(80))

    timeline = draw(done, [run(NORTH, 0, 0, 80, 100)], [], now=at(5000))

    assert (timeline.ticks[0], timeline.ticks[-1]) == (START, at(100))
    assert spans(timeline.rows[1]) == [("running", 0, 80), ("ending", 80, 20)]


def test_a_moment_is_wide_enough_to_be_visible() -> None:
    timeline = draw(deployment(), [run(NORTH, 9999.9, 9999.9)], [], now=at(10000))

    (span,) = timeline.rows[1].spans
    assert span.width >= 0.35
    assert span.x + span.width <= 100


def test_checkpoints_are_marked() -> None:
    events = [event(0, "submitted", "pending"), event(25, "checkpoint")]

    timeline = draw(deployment(), [], events, now=at(100))

    assert [mark.x for mark in timeline.rows[0].marks] == [25]


def test_the_timeline_of_many_runs_begins_with_the_first_one_shown() -> None:
    runs = [run(NORTH, 1000 + n, 1000 + n, 1001 + n, 1001 + n) for n in range(RUNS_SHOWN)]
    events = [event(0, "submitted", "pending"), event(1000, "placed", "starting")]

    timeline = draw(deployment(), runs, events, now=at(1100))

    assert timeline.ticks[0] == at(1000)
    assert spans(timeline.rows[0]) == [("starting", 0, 100)]


@pytest.mark.parametrize("seconds", [0.1, 1.5, 3, 4, 100])
def test_no_two_ticks_have_the_same_label(seconds: float) -> None:
    timeline = draw(deployment(), [], [], now=at(seconds))

    labels = [f"{tick:%H:%M:%S}" for tick in timeline.ticks]
    assert len(labels) >= 2
    assert len(set(labels)) == len(labels)
