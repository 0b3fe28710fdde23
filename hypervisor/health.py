"""Whether the process lives, and whether it can serve: for orchestrators and people."""

import structlog
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe
from redis import Redis, RedisError

log = structlog.get_logger(__name__)


@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """Answer as long as the process does; touches nothing else."""
    return JsonResponse({"status": "ok"})


@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """Say what works: 503 without a migrated database; without a broker it only is slower."""
    checks = {"database": database(), "broker": broker()}
    if checks["database"] != "ok":
        status = "unavailable"
    else:
        status = "ok" if checks["broker"] == "ok" else "degraded"
    code = 503 if status == "unavailable" else 200
    return JsonResponse({"status": status, "checks": checks}, status=code)


def database() -> str:
    """Return `ok`, `not migrated` or `unreachable`."""
    try:
        executor = MigrationExecutor(connection)
        pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError:
        log.warning("database_unreachable", exc_info=True)
        return "unreachable"
    return "not migrated" if pending else "ok"


def broker() -> str:
    """Return `ok` or `unreachable`, within a second."""
    try:
        with Redis.from_url(
            settings.REDIS_URL, socket_connect_timeout=0.5, socket_timeout=0.5
        ) as client:
            client.ping()
    except RedisError:
        log.warning("broker_unreachable", exc_info=True)
        return "unreachable"
    return "ok"
