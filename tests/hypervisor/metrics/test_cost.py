"""Reading the metrics reads no history: as many rows with a long history as without one."""

import json
import re
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from clusters.models import Cluster
from deployments.choices import Status
from deployments.models import Deployment
from deployments.runtime.models import Run
from hypervisor.metrics import page
from scheduling.models import SchedulingCycle
from scheduling.monitoring import totals
from scheduling.monitoring.minutes import take_sample
from tests.fixtures.deployments import Bring

pytestmark = pytest.mark.django_db

HISTORY = 5000
TABLES = ("deployments_deployment", "deployments_run", "orgs_event", "scheduling_schedulingcycle")


@pytest.fixture
def history(forge: Cluster, bring: Bring) -> None:
    """Few live deployments among thousands that have ended, with their runs and cycles."""
    for status in (Status.RUNNING, Status.STARTING, Status.PENDING):
        bring(status)
    take_sample()
    totals.count()
    ended = bring(Status.COMPLETED)
    _copy(Deployment, ended.pk)
    _copy(Run, Run.objects.get(deployment=ended).pk, container_uid="gen_random_uuid()")
    cycle = SchedulingCycle.objects.create(
        organization=forge.organization, trigger="change", started_at=timezone.now(),
        snapshot_us=1, plan_us=1, apply_us=1, ready=0, placed=0, evicted=0, moved=0,
        left_pending=0,
    )  # fmt: skip
    _copy(SchedulingCycle, cycle.pk)
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE {', '.join(TABLES)}")


def _copy(model: Any, pk: int, **changed: str) -> None:
    columns = [field.column for field in model._meta.concrete_fields if not field.primary_key]
    values = [changed.get(column, column) for column in columns]
    table = model._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(values)}"
            f" FROM {table}, generate_series(1, {HISTORY}) WHERE id = {pk}"
        )


def _rows(plan: dict[str, Any]) -> float:
    """Return how many rows of the history's tables a plan read."""
    own = 0.0
    if plan.get("Relation Name") in TABLES:
        removed = plan.get("Rows Removed by Filter", 0) + plan.get("Heap Fetches", 0)
        own = (plan["Actual Rows"] + removed) * plan["Actual Loops"]
    return own + sum(map(_rows, plan.get("Plans", [])))


def _read(statement: str) -> float:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}")
        found = cursor.fetchone()[0]
    document = json.loads(found) if isinstance(found, str) else found
    return _rows(document[0]["Plan"])


def test_no_statement_reads_the_history(history: None) -> None:
    with CaptureQueriesContext(
        connection,
    ) as captured:
        page._read()

    statements = [query["sql"] for query in captured if re.match(r"\s*(SELECT|WITH)", query["sql"])]
    assert len(statements) <= 20
    assert [sql for sql in statements if _read(sql) > 50] == []


def test_a_count_reads_only_what_is_new(history: None) -> None:
    with CaptureQueriesContext(connection) as captured:
        totals.count()

    inserts = [query["sql"] for query in captured if "INSERT INTO scheduling_total" in query["sql"]]
    assert inserts
    assert [sql for sql in inserts if _read(sql) > 50] == []
