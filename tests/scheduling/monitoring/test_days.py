"""Days, rolled up from minutes and runs."""

from datetime import UTC, datetime, timedelta

import pytest

from clusters.models import Cluster
from deployments.choices import Status
from deployments.models import Deployment
from deployments.runtime.models import Run
from orgs.models import Event
from scheduling.models import Day, Sample
from scheduling.monitoring.days import roll_up
from tests.fixtures.deployments import Bring

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
_USAGE = ("", "used_", "held_")


def sampled(time: datetime, **figures: object) -> None:
    usage = {f"{kind}{name}": 0 for kind in _USAGE for name in ("cpu_milli", "ram_mib", "gpu")}
    Sample.objects.create(time=time, **(usage | figures))


def worked(
    bring: Bring, hours: float, outcome: str, gpu: int = 1, end: datetime = NOON
) -> Deployment:
    """Create a run of this length until `end`, on half of forge's GPUs."""
    deployment = bring(Status.COMPLETED, gpu=gpu)
    Run.objects.filter(deployment=deployment).update(
        placed_at=end - timedelta(hours=hours), started_at=end - timedelta(hours=hours),
        released_at=end, outcome=outcome,
    )  # fmt: skip
    return deployment


def today() -> Day:
    roll_up(NOON)
    return Day.objects.get(date=NOON.date())


def test_the_minutes_of_a_day_are_added_up(forge: Cluster) -> None:
    sampled(NOON, placed=2, waits=[0, 2], inverted=1, packed=0.5, packable=1.0)
    sampled(NOON - timedelta(minutes=1), placed=1, waits=[1], packed=1.0, packable=1.0)
    sampled(NOON - timedelta(minutes=2), inverted=0)
    sampled(NOON - timedelta(days=1), placed=70)

    day = today()

    assert (day.minutes, day.placed, day.waits) == (2, 3, [1, 2])
    assert (day.inverted, day.packed, day.packable) == (1, 1.5, 2.0)
    assert Day.objects.get(date=NOON.date() - timedelta(days=1)).placed == 70


def test_the_share_of_a_day_kept_idle_is_that_of_the_resource_kept_idle_most(
    forge: Cluster,
) -> None:
    sampled(NOON, cpu_milli=8000, gpu=4, idle_cpu_milli=800, idle_gpu=1)
    sampled(NOON - timedelta(minutes=1), cpu_milli=8000, gpu=4)
    sampled(NOON - timedelta(days=1))

    assert today().idle == pytest.approx(1 / 8)
    assert Day.objects.get(date=NOON.date() - timedelta(days=1)).idle is None


def test_midnight_belongs_to_the_day_that_ends(forge: Cluster) -> None:
    sampled(datetime(2026, 3, 1, tzinfo=UTC), placed=5)

    assert today().placed == 0
    assert Day.objects.get(date=datetime(2026, 2, 28, tzinfo=UTC).date()).placed == 5


def test_a_day_counts_how_many_submitted_deployments_ran(bring: Bring) -> None:
    for status in (Status.PENDING, Status.RUNNING, Status.CANCELLED, Status.FAILED):
        bring(status)
    Deployment.objects.update(created_at=NOON)

    day = today()

    assert (day.submitted, day.ran) == (4, 2)


def test_work_is_run_time_times_the_share_of_the_cluster(bring: Bring) -> None:
    worked(bring, 2, "completed")

    day = today()

    assert (day.work, day.lost) == (3600, 0)


@pytest.mark.parametrize("outcome", ["evicted", "moved", "requeued", "failed"])
def test_work_without_a_checkpoint_is_lost(bring: Bring, outcome: str) -> None:
    worked(bring, 2, outcome)

    assert today().lost == 3600


def test_only_work_after_the_last_checkpoint_is_lost(bring: Bring) -> None:
    deployment = worked(bring, 2, "evicted")
    for minutes in (100, 30):
        Event.objects.create(
            organization_id=deployment.organization_id, subject="deployment",
            subject_id=deployment.pk, kind="checkpoint", time=NOON - timedelta(minutes=minutes),
            actor="alice",
        )  # fmt: skip

    assert today().lost == 900


def test_work_belongs_to_the_day_on_which_it_was_done(bring: Bring) -> None:
    worked(bring, 36, "evicted")

    day = today()

    assert day.work == day.lost == 6 * 3600
    assert Day.objects.get(date=NOON.date() - timedelta(days=1)).lost == 12 * 3600


def test_a_day_that_is_rolled_up_again_stays_one_row(forge: Cluster) -> None:
    today()
    today()

    assert Day.objects.count() == 3
