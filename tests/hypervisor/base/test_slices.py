"""A part of a list has the rows of the list, and only its keys are sorted."""

import pytest

from accounts.models import User
from hypervisor.base.slices import part
from orgs import services
from orgs.models import Membership

pytestmark = pytest.mark.django_db


def test_a_part_has_the_same_rows_in_the_same_order(alice: User) -> None:
    for name in ("Borealis", "Acme", "Corvid", "Dorado"):
        services.create(owner=alice, name=name)
    rows = Membership.objects.select_related("organization").order_by("-organization__name", "pk")
    rows = rows.exclude(organization__name="Corvid")

    assert list(part(rows, 1, 3)) == list(rows[1:3])
    assert len(part(rows, 1, 3)) == 2
    assert list(part(rows, 100, 103)) == []


def test_tables_are_joined_to_the_rows_of_the_part_only() -> None:
    rows = Membership.objects.select_related("organization", "user").order_by("role", "pk")

    outer, _, inner = str(part(rows, 0, 2).query).partition(" IN (")

    assert outer.count("JOIN") == 2
    assert "LIMIT 2" in inner
    assert "JOIN" not in inner
