"""Whether the process lives, and whether it can serve: for orchestrators and people."""

import structlog
from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.views import PublicView
from clusters.wakeups import broker_answers

log = structlog.get_logger(__name__)


@extend_schema(exclude=True)
class LiveView(PublicView):
    """Answers as long as the process does, and touches nothing else."""

    def get(self, request: Request) -> Response:
        return Response({"status": "ok"})


@extend_schema(exclude=True)
class ReadyView(PublicView):
    """Says what works: 503 without a migrated database; without a broker it is only slower."""

    def get(self, request: Request) -> Response:
        checks = {"database": database(), "broker": broker()}
        if checks["database"] != "ok":
            return Response({"status": "unavailable", "checks": checks}, status=503)
        status = "ok" if checks["broker"] == "ok" else "degraded"
        return Response({"status": status, "checks": checks})


def database() -> str:
    """Return `ok`, `not migrated` or `unreachable`."""
    try:
        executor = MigrationExecutor(connection)
        pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except Error:
        log.warning("database_unreachable", exc_info=True)
        return "unreachable"
    return "not migrated" if pending else "ok"


def broker() -> str:
    """Return `ok` or `unreachable`, within a second."""
    return "ok" if broker_answers() else "unreachable"
