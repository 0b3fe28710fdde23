"""What an error of the database means: by its SQLSTATE, for every caller of the product.

A lock that is not given in time, a server that is away, full or read-only is no fault of the
caller's and none of the code's: the same call succeeds later. Everything else stays an error.
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
        "Another change, or a scheduling cycle, holds what this call needs. Repeat the call.",
        1,
    ),
    "40001": ("locked", "Another change came first. Repeat the call.", 1),
    "40P01": ("locked", "This call and another one waited for each other. Repeat the call.", 1),
    "57014": ("database_slow", "The database took too long for this call. Repeat it later.", 5),
    "25006": ("database_read_only", "The database is read-only at present. Repeat the call.", 10),
    DISK_FULL: ("database_full", "The disk of the database is full. Repeat the call later.", 30),
    "53300": ("database_full", "The database has no free connection. Repeat the call.", 2),
}
"""By SQLSTATE: the code for programs, the sentence for people, the seconds until a new attempt."""

_AWAY = ("database_unavailable", "The database does not answer at present. Repeat the call.", 5)
_AWAY_CLASSES = ("08", "25P", "53", "57P", "58")
"""No connection, ended for being idle, out of resources, shutting down, failing disks."""


def sqlstate_of(error: BaseException) -> str | None:
    """Return the five characters by which PostgreSQL names the error, None where it named none."""
    return getattr(error.__cause__, "sqlstate", None)


def is_lock_timeout(error: BaseException) -> bool:
    """Say whether somebody else held a lock for longer than this process waits for one."""
    return isinstance(error, OperationalError) and sqlstate_of(error) == LOCK_TIMEOUT


def refusal_of(error: BaseException | None) -> DomainError | None:
    """Return what to answer instead of a failure; None for an error of the code."""
    if isinstance(error, ObjectDoesNotExist) and not isinstance(error, AttributeError):
        # What the call has read a moment ago; an AttributeError is a relation that never was.
        return NotFound("It, or something that it belongs to, has been deleted meanwhile.")
    if not isinstance(error, DatabaseError | InterfaceError):
        return None
    state = sqlstate_of(error)
    if state == _FOREIGN_KEY and isinstance(error, IntegrityError):
        return Conflict(
            "Something that this call refers to, or removes, was changed at the same moment. Look"
            " at its present state, then repeat the call.",
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
