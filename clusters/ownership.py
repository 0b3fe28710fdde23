"""Check whether an engine still belongs to this installation.

The engine keeps a marker, a random value that is also in this installation's database. It is
renewed when a worker starts and then once a minute. A restored database has an older marker, and so
does a copied one as soon as the live installation has renewed the marker. A database that was moved
to another server counts as a copy in any case. An installation that is a copy starts, stops and
removes nothing on the engine until an operator claims the engine.

A renewal writes the new marker to the database, then to the engine, then removes the old one from
the engine, then from the database. If a process is killed in between, the database still has every
marker that may be on the engine.
"""

from datetime import datetime, timedelta
from uuid import UUID, uuid4

import structlog
from django.db import connection as database

from clusters.drivers.base import Cause, Driver, DriverError
from clusters.engines import Engine
from clusters.models import Connection

RENEW_AFTER = timedelta(minutes=1)

Markers = frozenset[UUID] | None
"""The markers on the engine; None if it cannot keep any."""

_seen_by_this_process: set[UUID] = set()

log = structlog.get_logger(__name__)


class ForeignEngine(DriverError):
    """The engine belongs to another copy of this installation, or this one was restored."""

    def __init__(self, engine: Engine, why: str) -> None:
        super().__init__(
            f"{why} If this installation is to use the engine from now on, run"
            f" `{claim_command(engine)}`.",
            retriable=True,
            cause=Cause.UNREACHABLE,
        )


def claim_command(engine: Engine) -> str:
    """Return the command with which an operator claims the engine."""
    node = f" --node {engine.node}" if engine.unit == "node" else ""
    return f"manage.py claim_engine {engine.cluster.pk}{node}"


def check(engine: Engine, driver: Driver, now: datetime) -> None:
    """Renew the engine's marker if due. Raises ForeignEngine if the engine belongs to another copy.

    Only the process that holds the engine's lock may call it.
    """
    connection = _of(engine)
    if connection is None:
        return
    markers = driver.markers()
    if why := _objection(connection, markers):
        raise ForeignEngine(engine, why)
    if _is_due(connection, markers, now):
        _renew(connection, driver, markers, connection.next_marker or uuid4(), now)
        _seen_by_this_process.add(connection.uid)


def claim(engine: Engine, driver: Driver, now: datetime) -> None:
    """Make the engine this installation's. Only the holder of the engine's lock may call it."""
    if connection := _of(engine):
        _renew(connection, driver, driver.markers(), uuid4(), now)


def objection(engine: Engine, driver: Driver) -> str:
    """Return why the engine does not belong to this installation, "" if it does; change nothing."""
    connection = _of(engine)
    return _objection(connection, driver.markers()) if connection else ""


def _of(engine: Engine) -> Connection | None:
    """Return the connection as it is now, None for a simulated engine, which has no owner."""
    return Connection.objects.filter(engine.connected).first() if engine.connection else None


def _objection(connection: Connection, markers: Markers) -> str:
    if connection.marker_database and _this_database() not in ("", connection.marker_database):
        return "This database is a copy: it was on another server when it last used the engine."
    known = {connection.marker, connection.next_marker}
    if any(marker not in known for marker in markers or ()):
        return "The engine has another copy's marker: this database was restored or copied."
    if markers is not None and not markers and connection.unclaimed:
        return "The engine had another copy's marker before, and has no marker now."
    return ""


def _is_due(connection: Connection, markers: Markers, now: datetime) -> bool:
    if not connection.marked_at or connection.next_marker:
        return True
    if markers is not None and connection.marker not in markers:
        return True
    new_process = connection.uid not in _seen_by_this_process
    return new_process or now - connection.marked_at >= RENEW_AFTER


def _renew(
    connection: Connection, driver: Driver, former: Markers, marker: UUID, now: datetime
) -> None:
    rows = Connection.objects.filter(pk=connection.pk)
    # Each write is conditional on the one before, so that a worker that was paused changes nothing.
    if not rows.filter(next_marker=connection.next_marker).update(next_marker=marker):
        return
    if former is not None:
        driver.mark(marker, instead_of=former - {marker})
    rows.filter(next_marker=marker).update(
        marker=marker, next_marker=None, marked_at=now, marker_database=_this_database()
    )
    log.debug("engine_marked", cluster=connection.cluster_id)


def _this_database() -> str:
    """Return an id that differs on every other server, "" without the privilege to read it.

    A failover to a physical replica keeps it; a dump and restore on another server changes it.
    """
    with database.cursor() as cursor:
        cursor.execute("SELECT has_function_privilege('pg_control_system()', 'EXECUTE')")
        if not cursor.fetchone()[0]:
            return ""
        cursor.execute(
            "SELECT system_identifier || '/' || oid FROM pg_control_system(), pg_database"
            " WHERE datname = current_database()"
        )
        return str(cursor.fetchone()[0])
