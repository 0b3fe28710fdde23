"""Whether an engine is still this installation's.

The engine keeps a marker, a random value that this installation's database knows as well, and that
is renewed when a worker starts and once a minute. A database that was restored knows a former
marker. So does a copy, as soon as the live installation has renewed it. A database that has been
moved to another server is a copy as well, whatever it knows. An installation that finds itself to
be a copy starts, stops and removes nothing on the engine until an operator claims it.

A renewal writes the new marker into the database, then onto the engine, then takes the former one
away there, then forgets it in the database. So, whatever is killed in between, the database knows
each marker that the engine may have.
"""

from datetime import datetime, timedelta
from uuid import UUID, uuid4

import structlog
from django.db import connection as database

from clusters.drivers.base import Cause, Driver, DriverError
from clusters.models import Cluster, Connection

RENEW_AFTER = timedelta(minutes=1)

Markers = frozenset[UUID] | None
"""Those on the engine; None where it cannot keep any."""

_seen_by_this_process: set[UUID] = set()

log = structlog.get_logger(__name__)


class NotOurs(DriverError):
    """The engine belongs to another copy of this installation, or this one was restored."""

    def __init__(self, cluster: Cluster, why: str) -> None:
        super().__init__(
            f"{why} If this installation is to use the engine from now on: `manage.py claim_engine"
            f" {cluster.pk}`.",
            retriable=True,
            cause=Cause.UNREACHABLE,
        )


def check(cluster: Cluster, driver: Driver, now: datetime) -> None:
    """Renew the engine's marker when that is due. Raises NotOurs when the engine is another's.

    Only for the process whose turn it is to speak to the engine.
    """
    connection = _of(cluster)
    if connection is None:
        return
    markers = driver.markers()
    if why := _objection(connection, markers):
        raise NotOurs(cluster, why)
    if _is_due(connection, markers, now):
        _renew(connection, driver, markers, connection.next_marker or uuid4(), now)
        _seen_by_this_process.add(connection.uid)


def claim(cluster: Cluster, driver: Driver, now: datetime) -> None:
    """Make the engine this installation's, whatever it was. For the process whose turn it is."""
    if connection := _of(cluster):
        _renew(connection, driver, driver.markers(), uuid4(), now)


def objection(cluster: Cluster, driver: Driver) -> str:
    """Return why the engine is not this installation's, "" when it is; nothing is changed."""
    connection = _of(cluster)
    return _objection(connection, driver.markers()) if connection else ""


def _of(cluster: Cluster) -> Connection | None:
    """Return the connection as it is now; a simulated engine has none, and belongs to nobody."""
    return Connection.objects.filter(cluster=cluster).first()


def _objection(connection: Connection, markers: Markers) -> str:
    if connection.marker_database and _this_database() not in ("", connection.marker_database):
        return "This database is a copy: it was on another server when it last used the engine."
    known = {connection.marker, connection.next_marker}
    if any(marker not in known for marker in markers or ()):
        return "The engine is marked as another copy's: this database was restored or copied."
    if markers is not None and not markers and connection.unclaimed:
        return "The engine was marked as another copy's, and has no marker now."
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
    # Each write says what it follows, so that a worker which was frozen meanwhile changes nothing.
    if not rows.filter(next_marker=connection.next_marker).update(next_marker=marker):
        return
    if former is not None:
        driver.mark(marker, instead_of=former - {marker})
    rows.filter(next_marker=marker).update(
        marker=marker, next_marker=None, marked_at=now, marker_database=_this_database()
    )
    log.debug("engine_marked", cluster=connection.cluster_id)


def _this_database() -> str:
    """Return what tells this database from a copy on another server, "" where we may not know.

    The same after a failover to a physical replica; another one after a dump and restore elsewhere.
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
