"""Whether the process lives, and whether it can serve: for orchestrators and people."""

from contextlib import closing

import structlog
from django.db import Error, connection, connections, transaction
from django.db.migrations.executor import MigrationExecutor
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.views import PublicView
from clusters.wakeups import broker_state
from hypervisor.base.outages import DISK_FULL, sqlstate_of

SPILL = "SELECT count(*) FROM generate_series(1, 10000)"
"""A statement whose intermediate rows do not fit into the least memory for them."""

log = structlog.get_logger(__name__)


@extend_schema(exclude=True)
class LiveView(PublicView):
    """Answers as long as the process does, and touches nothing else."""

    def get(self, request: Request) -> Response:
        return Response({"status": "ok"})


@extend_schema(exclude=True)
class ReadyView(PublicView):
    """Says what works: 503 without a migrated database that takes writes and new connections.

    Without a broker the service is only slower.
    """

    def get(self, request: Request) -> Response:
        checks = {"database": database(), "broker": broker()}
        if checks["database"] != "ok":
            return Response({"status": "unavailable", "checks": checks}, status=503)
        status = "ok" if checks["broker"] == "ok" else "degraded"
        return Response({"status": status, "checks": checks})


def database() -> str:
    """Return `ok`, or what is wrong: `not migrated`, `read-only`, `full` or `unreachable`."""
    try:
        executor = MigrationExecutor(connection)
        pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
        if _is_read_only():
            return "read-only"
        _write()
        # This thread's own connection may be an old one, while new ones are refused.
        with closing(connections.create_connection(connection.alias)) as new:
            new.ensure_connection()
    except Error as error:
        log.warning("database_not_ready", exc_info=True)
        return "full" if sqlstate_of(error) == DISK_FULL else "unreachable"
    return "not migrated" if pending else "ok"


def broker() -> str:
    """Return `ok`, `refuses writes` or `unreachable`, within a second."""
    return broker_state()


def _is_read_only() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SHOW transaction_read_only")
        return bool(cursor.fetchone()[0] == "on")


def _write() -> None:
    """Have PostgreSQL write a few blocks beside its data, in a temporary file."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL work_mem = '64kB'")
        cursor.execute(SPILL)
