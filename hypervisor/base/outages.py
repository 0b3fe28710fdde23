"""Which refusal a database error leads to, by its SQLSTATE.

A lock timeout, or a server that is down, full or read-only, is a fault neither of the caller nor of
the code: the same call succeeds later. Every other error stays an error.
"""

from django.core.exceptions import ObjectDoesNotExist
from django.db import DatabaseError, IntegrityError, InterfaceError, OperationalError

from hypervisor.base.errors import Conflict, DomainError, NotFound, Unavailable

LOCK_TIMEOUT = "55P03"
DISK_FULL = "53100"
_FOREIGN_KEY = "23503"

_LATER: dict[str, tuple[str, str, int]] = {
    LOCK_TIMEOUT: (
        "locked",
        "Another change or a scheduling cycle has locked rows of this call. Repeat the call.",
        1,
    ),
    "40001": ("locked", "Another change came first. Repeat the call.", 1),
    "40P01": ("locked", "This call was in a deadlock with another one. Repeat the call.", 1),
    "57014": ("database_slow", "The database took too long for this call. Repeat it later.", 5),
    "25006": ("database_read_only", "The database is read-only at present. Repeat the call.", 10),
    DISK_FULL: ("database_full", "The disk of the database is full. Repeat the call later.", 30),
    "53300": ("database_full", "The database has no free connection. Repeat the call.", 2),
}
"""By SQLSTATE: the code for programs, the sentence for people, the seconds until the next try."""

_AWAY = ("database_unavailable", "The database does not answer at present. Repeat the call.", 5)
_AWAY_CLASSES = ("08", "25P", "53", "57P", "58")
"""No connection, terminated while idle, out of resources, shutting down, failing disks."""


def sqlstate_of(error: BaseException) -> str | None:
    """Return PostgreSQL's code of the error (five characters), or None if the error has none."""
    return getattr(error.__cause__, "sqlstate", None)


def is_lock_timeout(error: BaseException) -> bool:
    """Return whether a lock was not granted within this process's limit."""
    return isinstance(error, OperationalError) and sqlstate_of(error) == LOCK_TIMEOUT


def refusal_of(error: BaseException | None) -> DomainError | None:
    """Return the refusal to answer with, or None if the error is a fault of the code."""
    if isinstance(error, ObjectDoesNotExist) and not isinstance(error, AttributeError):
        # The call has read the row before. An AttributeError is a relation that never existed.
        return NotFound("The object, or one that it belongs to, was deleted in the meantime.")
    if not isinstance(error, DatabaseError | InterfaceError):
        return None
    state = sqlstate_of(error)
    if state == _FOREIGN_KEY and isinstance(error, IntegrityError):
        return Conflict(
            "An object that this call refers to or removes was changed at the same time. Check its"
            " present state, then repeat the call.",
            code="changed_meanwhile",
        )
    if state is None and not isinstance(error, OperationalError | InterfaceError):
        return None
    if state in _LATER:
        return _unavailable(*_LATER[state])
    if state is None or state.startswith(_AWAY_CLASSES):
        return _unavailable(*_AWAY)
    return None


def _unavailable(code: str, detail: str, retry_after_s: int) -> Unavailable:
    return Unavailable(detail, code=code, retry_after_s=retry_after_s)
