"""The bench of a cycle compares the same rows."""

import pytest

from benchmarks.cycle import World, compare, waiting
from deployments.choices import Status
from deployments.models import Deployment
from deployments.runtime.models import Run
from orgs.models import Event
from scheduling.insight.verify import violations

pytestmark = pytest.mark.django_db(transaction=True)


def test_raw_sql_writes_what_the_cycle_wrote() -> None:
    world = World.create(clusters=2, shapes=0, seed=1)

    found = compare(world, 30, tries=1)

    assert [sample.placed for sample in found.cycles] == [30]
    assert Deployment.objects.filter(status=Status.STARTING).count() == 30
    assert Run.objects.current().count() == Event.objects.filter(kind="placed").count() == 30
    assert list(violations()) == []
    assert "places 30" in str(found)


def test_nothing_fits_while_the_clusters_are_full() -> None:
    world = World.create(clusters=2, shapes=3, seed=1)

    found = waiting(world, 20, tries=1)

    assert [(s.placed, s.left_pending) for samples in found.values() for s in samples] == [
        (0, 20), (0, 20)
    ]  # fmt: skip
