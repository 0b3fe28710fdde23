"""Limits on pending deployments, for each user and for each organization.

Counting what is pending takes longer the more there is, so a submission far below the limits is not
counted. Each process remembers how many there were, and the highest id at that moment: until the
ids have grown by the difference to the limit, the submissions of all processes together cannot
have reached it. A tenth of the limit is left for deployments that come back to the queue without
a submission, and a count is repeated after a minute.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from time import monotonic

from django.conf import settings
from django.db import connection

from deployments.insertion import LAST_ID
from deployments.models import Deployment
from hypervisor.base import bounds
from hypervisor.base.bounds import Bound, Key

_OF_USER = "MAX_PENDING_PER_USER"
_OF_ORGANIZATION = "MAX_PENDING_PER_ORGANIZATION"

_LEAST = 1000
"""Below this limit, each submission is counted: it does not take long."""

_COUNT_S = 60.0
_MAX_COUNTS = 10_000
_NO_LIMIT = 2**62


@dataclass(frozen=True, slots=True)
class _Count:
    """The result of a count: ids up to `up_to` keep the limit, until the clock shows `until`."""

    limit: int
    up_to: int
    until: float


_counts: dict[Key, _Count] = {}


def check_bounds(
    user_id: int | None, adding: Mapping[int, int], *, lock: bool = True, inserts: bool = True
) -> None:
    """Raise Conflict if adding this many pending deployments, by organization, exceeds a limit.

    With `lock`, no other transaction adds any until this one ends. Without `inserts`, deployments
    that exist become pending again.
    """
    of_user = {(user_id, organization): count for organization, count in adding.items()}
    check_bounds_of(of_user, lock=lock, inserts=inserts)


def check_bounds_of(
    adding: Mapping[tuple[int | None, int], int], *, lock: bool = True, inserts: bool = True
) -> None:
    """Do the same as `check_bounds`, for deployments of several users: by user and organization."""
    users: Counter[int] = Counter()
    organizations: Counter[int] = Counter()
    for (user_id, organization_id), count in adding.items():
        users[user_id or 0] += count
        organizations[organization_id] += count
    wanted = [
        *(_bound_of_user(user, count) for user, count in sorted(users.items()) if user),
        *(_bound_of_organization(pk, count) for pk, count in sorted(organizations.items())),
    ]
    counted = bounds.check(wanted, lock=lock)
    if lock:
        _remember({b: there for b, there in counted if b.limit >= _LEAST})
    if not inserts:
        _draw_ids(organizations.total())


def limits_of(user_id: int, organizations: Collection[int]) -> list[Key]:
    """Return the bounds that a submission must lock, in the order of the locks."""
    keys = [(_OF_USER, user_id), *((_OF_ORGANIZATION, pk) for pk in sorted(organizations))]
    return [key for key in keys if getattr(settings, key[0])]


def counted_up_to(keys: Collection[Key]) -> int | None:
    """Return up to which id deployments may be inserted under these locks without a count.

    Return None if a count is due.
    """
    now = monotonic()
    known = [count for key in keys if (count := _counts.get(key)) and count.until > now]
    limits = [getattr(settings, setting) for setting, _ in keys]
    if [count.limit for count in known] != limits:
        return None
    return min((count.up_to for count in known), default=_NO_LIMIT)


def forget(keys: Collection[Key]) -> None:
    """Let the next submission count."""
    for key in keys:
        _counts.pop(key, None)


def _bound_of_user(user_id: int, adding: int) -> Bound:
    rows = Deployment.objects.pending().filter(created_by=user_id)
    return Bound(_OF_USER, user_id, rows, partial(_refusal, "this user"), adding)


def _bound_of_organization(organization_id: int, adding: int) -> Bound:
    rows = Deployment.objects.pending().filter(organization=organization_id)
    whose = f"organization {organization_id}"
    return Bound(_OF_ORGANIZATION, organization_id, rows, partial(_refusal, whose), adding)


def _remember(counted: Mapping[Bound, int]) -> None:
    """Remember these counts. The caller holds the locks, so no row of the owners is in flight."""
    if not counted:
        return
    with connection.cursor() as cursor:
        cursor.execute(LAST_ID)
        (last_id,) = cursor.fetchone()
    if len(_counts) >= _MAX_COUNTS:
        _counts.clear()
    until = monotonic() + _COUNT_S
    for bound, there in counted.items():
        left = bound.limit - bound.limit // 10 - there
        _counts[bound.key] = _Count(bound.limit, last_id + left, until)


def _draw_ids(count: int) -> None:
    """Make deployments that are not inserted count for all processes, as if they were."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT nextval('deployments_deployment_id_seq') FROM generate_series(1, %s)", [count]
        )


def _refusal(whose: str, count: str, bound: str) -> str:
    return (
        f"{count} deployments of {whose} are pending, and the limit is {bound}: submit fewer, wait"
        " until some of them run, or cancel some."
    )
