"""The liveness and readiness checks, for orchestrators and people."""

from contextlib import closing
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import Request as Call
from urllib.request import urlopen

import structlog
from django.conf import settings
from django.db import Error, connection, connections, transaction
from django.db.migrations.executor import MigrationExecutor
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.views import PublicView
from clusters.wakeups import broker_state
from hypervisor.base.outages import DISK_FULL, sqlstate_of

SPILL = "SELECT count(*) FROM generate_series(1, 10000)"
"""A statement whose intermediate rows exceed the smallest possible `work_mem`."""

log = structlog.get_logger(__name__)


@extend_schema(exclude=True)
class LiveView(PublicView):
    """Answers as long as the process runs; depends on nothing else."""

    def get(self, request: Request) -> Response:
        return Response({"status": "ok"})


@extend_schema(exclude=True)
class ReadyView(PublicView):
    """Reports which parts work.

    The status is 503 unless the database is migrated and accepts writes and new connections.
    Without a broker the service is only slower, and without the process `events` nothing can be
    followed, so the status is 200.
    """

    def get(self, request: Request) -> Response:
        checks = {"database": database(), "broker": broker()}
        if settings.EVENTS_URL:
            checks["events"] = events()
        if checks["database"] != "ok":
            return Response({"status": "unavailable", "checks": checks}, status=503)
        status = "ok" if set(checks.values()) == {"ok"} else "degraded"
        return Response({"status": status, "checks": checks})


def database() -> str:
    """Return `ok`, or the problem: `not migrated`, `read-only`, `full` or `unreachable`."""
    try:
        executor = MigrationExecutor(connection)
        pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
        if _is_read_only():
            return "read-only"
        _write()
        # This thread's connection may be an old one while PostgreSQL refuses new ones.
        with closing(connections.create_connection(connection.alias)) as new:
            new.ensure_connection()
    except Error as error:
        log.warning("database_not_ready", exc_info=True)
        return "full" if sqlstate_of(error) == DISK_FULL else "unreachable"
    return "not migrated" if pending else "ok"


def broker() -> str:
    """Return `ok`, `refuses writes` or `unreachable`, within a second."""
    return broker_state()


def events() -> str:
    """Return `ok`, or `unreachable` if the process that serves followers is, within a second."""
    # The host is one that the process allows, whatever its address is called here.
    headers = {"Host": "127.0.0.1"}
    call = Call(f"{settings.EVENTS_URL}/healthz", headers=headers)  # noqa: S310 its own address
    try:
        with urlopen(call, timeout=1):  # noqa: S310
            return "ok"
    except HTTPError:
        return "ok"
    except (OSError, HTTPException) as error:
        log.warning("events_unreachable", error=str(error))
        return "unreachable"


def _is_read_only() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SHOW transaction_read_only")
        return bool(cursor.fetchone()[0] == "on")


def _write() -> None:
    """Let PostgreSQL write a few blocks to a temporary file on the disk of its data."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL work_mem = '64kB'")
        cursor.execute(SPILL)
