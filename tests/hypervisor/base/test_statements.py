"""A statement that was made once returns the rows of its queryset for other ids and times."""

from datetime import timedelta

import pytest
from django.utils import timezone

from clusters.models import Cluster
from deployments.models import Deployment
from hypervisor.base.arrays import Among
from hypervisor.base.statements import ANY_IDS, ANY_TIME, Statement
from orgs.models import Organization
from tests.fixtures.deployments import Submit

pytestmark = pytest.mark.django_db


def test_a_statement_returns_the_rows_for_these_ids_and_this_time(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    first, second, third = [submit() for _ in range(3)]
    rows = Deployment.objects.filter(Among("pk", ANY_IDS), created_at__lt=ANY_TIME, priority=50)
    statement = Statement.of(rows.order_by("-pk").values_list("pk", "created_at"))
    later = timezone.now() + timedelta(hours=1)

    assert list(statement.rows([first.pk, third.pk], later)) == [
        (third.pk, third.created_at), (first.pk, first.created_at),
    ]  # fmt: skip
    assert list(statement.rows([second.pk], later)) == [(second.pk, second.created_at)]
    assert list(statement.rows([second.pk], first.created_at)) == []
    assert list(statement.rows([], later)) == []
