"""How long a process waits for PostgreSQL, and PostgreSQL for the process, by kind of process.

The limits are startup parameters: they cost no statement, and hold from the first one on. What the
operator gives in DATABASE_URL (`?options=-c%20lock_timeout%3D10s`) comes last and wins.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import connections


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a statement may wait for a lock, run, and leave its transaction open and idle.

    In PostgreSQL's own notation; 0 is without limit.
    """

    lock: str
    statement: str
    idle: str


WEB = Limits(lock="3s", statement="30s", idle="60s")
"""A caller waits, and its thread serves nobody else meanwhile."""

WORKER = Limits(lock="3s", statement="5min", idle="2min")
"""A cycle plans inside its transaction; cycles wait for locks even shorter (see `scheduling`)."""

COMMAND = Limits(lock="10s", statement="0", idle="10min")
"""`migrate`, `verify` and the like may take long; while a migration waits, all others wait too."""

_FROM_HERE = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
"""After some 25 seconds without a sign of the server's machine the connection is given up."""

_FROM_THERE = {
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "20s",
}
"""The same in the other direction: a worker whose machine vanished keeps its locks no longer."""


def options(limits: Limits, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the connection's OPTIONS: these limits, and over them what the operator has given."""
    wanted = {
        "lock_timeout": limits.lock,
        "statement_timeout": limits.statement,
        "idle_in_transaction_session_timeout": limits.idle,
        **_FROM_THERE,
    }
    ours = [f"-c {name}={value}" for name, value in wanted.items()]
    return {**_FROM_HERE, **given, "options": " ".join([*ours, given.get("options", "")]).strip()}


def use(limits: Limits) -> None:
    """Hold this process, and those that it forks, to these limits from its next connection on."""
    database = connections.settings["default"]
    database["OPTIONS"] = options(limits, database["GIVEN_OPTIONS"])
