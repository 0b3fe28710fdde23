"""Change all deployments that a filter selects, where role and status allow it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any

from django.db import transaction
from django.db.models import Q

from accounts.idempotency import record_needed
from accounts.models import User
from deployments import groups, lifecycle
from deployments.choices import ENDED, LIVE, Status
from deployments.groups import Row
from deployments.models import DeploymentQuerySet
from hypervisor.base.errors import Invalid
from orgs.models import Role
from orgs.permissions import roles_of

MAX_CHANGED = 1_000
"""The most deployments that one transaction changes: the audit trail gets a row for each."""

MAX_LISTED = 10_000
"""The most skipped deployments that an outcome lists."""


@dataclass(frozen=True, slots=True)
class Action:
    """A verb for all deployments that a filter selects.

    - carry_out: changes rows that fit, as in `groups`.
    - fits: the statuses in which it is possible.
    - selects: the statuses that it is about; deployments in others are left out, not skipped.
    - remedies: what to do about a deployment that is skipped, by its status.
    - own_role: the lowest role that suffices for the caller's own deployments.
    - changes: returns the condition under which it would change something, None if it always would;
      `unchanged` says why a deployment is skipped otherwise.
    """

    carry_out: Callable[..., set[int]]
    fits: tuple[Status, ...]
    selects: tuple[Status, ...]
    remedies: Mapping[Status, str]
    own_role: Role = Role.DEVELOPER
    changes: Callable[..., Q] | None = None
    unchanged: str = ""

    def least(self, created_by: int | None, user: User) -> Role:
        """Return the lowest role that the user needs for a deployment of this submitter."""
        return self.own_role if created_by == user.pk else Role.ADMIN


@dataclass(frozen=True, slots=True)
class Skipped:
    """A selected deployment that was not changed, and why; `code` is machine-readable."""

    deployment: int
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """The ids of the deployments that were changed, and the skipped deployments.

    `skipped` lists up to MAX_LISTED of them, `skipped_count` counts all. `remaining` counts the
    deployments beyond the limit, which another call would change.
    """

    deployments: list[int]
    skipped: list[Skipped]
    skipped_count: int
    remaining: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """How many deployments were changed, and how many are left for another call."""

    changed: int
    remaining: int


def _cancel(rows: list[Row], *, actor: str) -> set[int]:
    reason = groups.CANCELLED_BY.format(actor)
    return groups.carry_out(rows, lifecycle.CANCEL, actor=actor, reason=reason)


def _stop(rows: list[Row], *, actor: str) -> set[int]:
    reason = groups.STOPPED_BY.format(actor)
    return groups.carry_out(rows, lifecycle.STOP, actor=actor, reason=reason)


_STOP_FIRST = {
    Status.STARTING: "stop it instead",
    Status.RUNNING: "stop it instead",
    Status.STOPPING: "wait until it has stopped",
}
_CANCEL_FIRST = {**_STOP_FIRST, Status.PENDING: "cancel it instead"}
_pending = partial(Action, fits=(Status.PENDING,), selects=LIVE, remedies=_STOP_FIRST)

CANCEL = _pending(_cancel)
HOLD = _pending(
    groups.hold,
    own_role=Role.ADMIN,
    changes=lambda: Q(held=False),
    unchanged="It is on hold already.",
)
RELEASE = _pending(
    groups.release,
    own_role=Role.ADMIN,
    changes=lambda: Q(held=True),
    unchanged="It is not on hold.",
)
STOP = Action(_stop, lifecycle.STOP.sources, LIVE, _CANCEL_FIRST)
START = Action(groups.start, lifecycle.RESTART.sources, ENDED, {})
REPRIORITIZE = Action(
    groups.reprioritize,
    LIVE,
    LIVE,
    {},
    changes=lambda *, priority: ~Q(priority=priority),
    unchanged="It has this priority already.",
)


@transaction.atomic
def carry_out(
    action: Action,
    rows: DeploymentQuerySet,
    *,
    user: User,
    limit: int | None,
    **given: Any,
) -> Outcome:
    """Carry out the action on the selected deployments, in the order of their ids up to the limit.

    `given` are the action's own arguments. Raises Invalid if it would change more than MAX_CHANGED
    deployments, and the errors of the action.
    """
    roles = roles_of(user)
    concerned = rows.filter(status__in=action.selects)
    allowed = concerned.filter(_allowed(action, user, roles))
    possible = _changing(action, allowed, given)
    chosen = _read(possible, MAX_CHANGED + 1 if limit is None else limit)
    if len(chosen) > MAX_CHANGED:
        raise _too_many(possible.count())
    remaining = possible.count() - len(chosen) if len(chosen) == limit else 0
    refused = concerned.exclude(_allowed(action, user, roles))
    skipped, count = _skipped(action, refused, _unchanged(action, allowed, given), user, roles)
    for each in chosen:
        record_needed(each.organization, action.least(each.created_by, user))
    changed = action.carry_out(chosen, actor=user.username, **given) if chosen else set()
    late = [
        Skipped(each.pk, "changed", "It has just changed: check its status and repeat the call.")
        for each in chosen
        if each.pk not in changed
    ]
    listed = {each.deployment: each for each in (*skipped, *late)}
    count += len(listed) - len(skipped)
    return Outcome(sorted(changed), [listed[pk] for pk in sorted(listed)], count, remaining)


def carry_out_in_parts(
    action: Action,
    rows: DeploymentQuerySet,
    *,
    actor: str,
    member: User | None,
    seconds: float = 20,
    **given: Any,
) -> Progress:
    """Carry out the action on any number of deployments, in transactions of MAX_CHANGED.

    A member changes those that the roles allow, an operator (None) all. After so many seconds no
    further transaction begins. Raises the errors of the action.
    """
    end = monotonic() + seconds
    allowed = Q(status__in=action.fits)
    if member is not None:
        allowed = _allowed(action, member, roles_of(member))
    possible = _changing(action, rows.filter(allowed), given)
    last, changed = 0, 0
    while chosen := _read(possible.filter(pk__gt=last), MAX_CHANGED):
        if monotonic() > end:
            return Progress(changed, possible.filter(pk__gt=last).count())
        with transaction.atomic():
            changed += len(action.carry_out(chosen, actor=actor, **given))
        last = chosen[-1].pk
    return Progress(changed, 0)


def _too_many(count: int) -> Invalid:
    return Invalid(
        f"This would change {count} deployments, but one call changes at most {MAX_CHANGED}:"
        f" narrow the filter, or add limit={MAX_CHANGED} and repeat the call until `remaining`"
        " is 0.",
        attr="limit",
        code="too_many",
    )


def _allowed(action: Action, user: User, roles: Mapping[int, Role]) -> Q:
    """Return the condition under which status and role allow the action, as `least` says."""
    admin = [pk for pk, role in roles.items() if role.rank >= Role.ADMIN.rank]
    own = [pk for pk, role in roles.items() if role.rank >= action.own_role.rank]
    permitted = Q(organization__in=admin) | Q(organization__in=own, created_by=user)
    return Q(permitted, status__in=action.fits)


def _changing(
    action: Action, rows: DeploymentQuerySet, given: Mapping[str, Any]
) -> DeploymentQuerySet:
    return rows.filter(action.changes(**given)) if action.changes else rows


def _unchanged(
    action: Action, rows: DeploymentQuerySet, given: Mapping[str, Any]
) -> DeploymentQuerySet:
    return rows.exclude(action.changes(**given)) if action.changes else rows.none()


def _read(rows: DeploymentQuerySet, limit: int) -> list[Row]:
    columns = (
        "pk", "status", "revision", "organization_id", "created_by_id", "held", "priority",
    )  # fmt: skip
    return [Row(*row) for row in rows.order_by("pk").values_list(*columns)[:limit]]


def _skipped(
    action: Action,
    refused: DeploymentQuerySet,
    unchanged: DeploymentQuerySet,
    user: User,
    roles: Mapping[int, Role],
) -> tuple[list[Skipped], int]:
    """Return up to MAX_LISTED skipped deployments, the refused ones first, and how many there are.

    Many are unchanged only because an earlier call of the caller has changed them.
    """
    first = _read(refused, MAX_LISTED)
    then = _read(unchanged, MAX_LISTED - len(first))
    listed = [_refused(each, action, user, roles) for each in first]
    listed += [Skipped(each.pk, "unchanged", action.unchanged) for each in then]
    for organization in {each.organization for each in (*first, *then)}:
        record_needed(organization, Role.VIEWER)
    full = len(listed) == MAX_LISTED
    return listed, refused.count() + unchanged.count() if full else len(listed)


def _refused(each: Row, action: Action, user: User, roles: Mapping[int, Role]) -> Skipped:
    least, role = action.least(each.created_by, user), roles.get(each.organization, Role.VIEWER)
    if role.rank < least.rank:
        reason = f"This needs the role {least} or higher; yours is {role}: ask an admin."
        return Skipped(each.pk, "permission_denied", reason)
    reason = f"It is {each.status}: {action.remedies[Status(each.status)]}."
    return Skipped(each.pk, each.status, reason)
