"""How long a process waits for PostgreSQL, and PostgreSQL for the process, by kind of process.

The limits are startup parameters, so they cost no statement and apply to the first one. The
options in DATABASE_URL (`?options=-c%20lock_timeout%3D10s`) come last and override them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import connections


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a statement may wait for a lock and run, and a transaction may be open and idle.

    The values are in PostgreSQL's notation; 0 means no limit.
    """

    lock: str
    statement: str
    idle: str


WEB = Limits(lock="3s", statement="30s", idle="60s")
"""A caller waits, and its thread serves no other caller in the meantime."""

WORKER = Limits(lock="3s", statement="5min", idle="2min")
"""A cycle plans inside its transaction. Cycles have a shorter limit for locks: see `scheduling`."""

COMMAND = Limits(lock="10s", statement="0", idle="10min")
"""Commands such as `migrate` and `verify` may take long. Their limit for locks is short, because
other sessions wait behind a migration that waits for a lock.
"""

_FROM_HERE = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
"""The client closes a connection about 25 seconds after the server's machine has vanished."""

_FROM_THERE = {
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "20s",
    "client_connection_check_interval": "5s",
}
"""The same in the other direction: a worker that was killed, or whose machine has vanished, loses
its locks soon, even in the middle of a statement."""


def options(limits: Limits, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the connection's OPTIONS: these limits, overridden by the operator's options."""
    wanted = {**_names(limits), **_FROM_THERE}
    own = [f"-c {name}={value}" for name, value in wanted.items()]
    return {**_FROM_HERE, **given, "options": " ".join([*own, given.get("options", "")]).strip()}


def statement(limits: Limits) -> str:
    """Return the statement that sets these limits, with which a pooler begins its sessions."""
    values = ", ".join(
        f"set_config($${name}$$, $${value}$$, false)" for name, value in _names(limits).items()
    )
    return f"SELECT {values}"


def use(limits: Limits) -> None:
    """Apply these limits to later connections of this process and of processes that it forks."""
    database = connections.settings["default"]
    database["OPTIONS"] = options(limits, database["GIVEN_OPTIONS"])


def _names(limits: Limits) -> dict[str, str]:
    return {
        "lock_timeout": limits.lock,
        "statement_timeout": limits.statement,
        "idle_in_transaction_session_timeout": limits.idle,
    }
