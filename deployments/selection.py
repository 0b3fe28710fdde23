"""Change all deployments that a filter selects, where role and status allow it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.db import transaction

from accounts.idempotency import record_needed
from accounts.models import User
from deployments import groups, lifecycle
from deployments.groups import Row
from deployments.models import ENDED, LIVE, DeploymentQuerySet, Status
from hypervisor.base.errors import Invalid
from orgs.models import Role
from orgs.permissions import roles_of

MAX_SELECTED = 10_000
"""The most deployments that a filter may select, without those that the verb leaves out."""

MAX_CHANGED = 1_000
"""The most deployments that one transaction changes: the audit trail gets a row for each."""


@dataclass(frozen=True, slots=True)
class Action:
    """A verb for all deployments that a filter selects.

    - carry_out: changes rows that fit, as in `groups`.
    - fits: the statuses in which it is possible.
    - selects: the statuses that it is about; deployments in others are left out, not skipped.
    - remedies: what to do about a deployment that is skipped, by its status.
    - own_role: the lowest role that suffices for the caller's own deployments.
    - objection: returns why it would change nothing, "" if it would. None: it always would.
    """

    carry_out: Callable[..., set[int]]
    fits: tuple[Status, ...]
    selects: tuple[Status, ...]
    remedies: Mapping[Status, str]
    own_role: Role = Role.DEVELOPER
    objection: Callable[..., str] | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A selected deployment that was not changed, and why; `code` is machine-readable."""

    deployment: int
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """The ids of the deployments that were changed, and the skipped deployments.

    `remaining` counts the deployments beyond the limit, which another call would change.
    """

    deployments: list[int]
    skipped: list[Skipped]
    remaining: int = 0


def _cancel(rows: list[Row], *, actor: str) -> set[int]:
    reason = groups.CANCELLED_BY.format(actor)
    return groups.carry_out(rows, lifecycle.CANCEL, actor=actor, reason=reason)


def _stop(rows: list[Row], *, actor: str) -> set[int]:
    reason = groups.STOPPED_BY.format(actor)
    return groups.carry_out(rows, lifecycle.STOP, actor=actor, reason=reason)


def _held(row: Row) -> str:
    return "It is on hold already." if row.held else ""


def _not_held(row: Row) -> str:
    return "" if row.held else "It is not on hold."


def _has_priority(row: Row, *, priority: int) -> str:
    return "It has this priority already." if row.priority == priority else ""


_STOP_FIRST = {
    Status.STARTING: "stop it instead",
    Status.RUNNING: "stop it instead",
    Status.STOPPING: "wait until it has stopped",
}
_CANCEL_FIRST = {**_STOP_FIRST, Status.PENDING: "cancel it instead"}
_pending = partial(Action, fits=(Status.PENDING,), selects=LIVE, remedies=_STOP_FIRST)

CANCEL = _pending(_cancel)
HOLD = _pending(groups.hold, own_role=Role.ADMIN, objection=_held)
RELEASE = _pending(groups.release, own_role=Role.ADMIN, objection=_not_held)
STOP = Action(_stop, lifecycle.STOP.sources, LIVE, _CANCEL_FIRST)
START = Action(groups.start, lifecycle.RESTART.sources, ENDED, {})
REPRIORITIZE = Action(groups.reprioritize, LIVE, LIVE, {}, objection=_has_priority)


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

    `given` are the action's own arguments. Raises Invalid if the selection is too large, and the
    errors of the action.
    """
    selected = _selected(rows, action)
    skipped = list(_skipped(selected, action, user, given))
    passed = {each.deployment for each in skipped}
    fitting = [each for each in selected if each.pk not in passed]
    chosen = fitting[:limit]
    _check_number(len(chosen))
    remaining = len(fitting) - len(chosen)
    changed = action.carry_out(chosen, actor=user.username, **given) if chosen else set()
    skipped += [
        Skipped(each.pk, "changed", "It has just changed: check its status and repeat the call.")
        for each in chosen
        if each.pk not in changed
    ]
    return Outcome(sorted(changed), sorted(skipped, key=lambda each: each.deployment), remaining)


def _check_number(count: int) -> None:
    if count > MAX_CHANGED:
        raise Invalid(
            f"This would change {count} deployments, but one call changes at most {MAX_CHANGED}:"
            f" narrow the filter, or add limit={MAX_CHANGED} and repeat the call until `remaining`"
            " is 0.",
            attr="limit",
            code="too_many",
        )


def _selected(rows: DeploymentQuerySet, action: Action) -> list[Row]:
    """Return the selected deployments. Raises Invalid if they are too many."""
    columns = (
        "pk", "status", "revision", "organization_id", "created_by_id", "held", "priority",
    )  # fmt: skip
    concerned = rows.filter(status__in=action.selects).order_by("pk").values_list(*columns)
    found = [Row(*row) for row in concerned[: MAX_SELECTED + 1]]
    if len(found) > MAX_SELECTED:
        which = "have ended" if action.selects == ENDED else "have not ended"
        raise Invalid(
            f"The filter selects more than {MAX_SELECTED} deployments that {which}: narrow it, for"
            " example by `label`, `name` or `created_by`.",
            code="too_many",
        )
    return found


def _skipped(
    selected: Iterable[Row], action: Action, user: User, given: Mapping[str, Any]
) -> Iterator[Skipped]:
    roles = roles_of(user)
    for each in selected:
        record_needed(each.organization, Role.VIEWER)
        least = action.own_role if each.created_by == user.pk else Role.ADMIN
        role = roles.get(each.organization, Role.VIEWER)
        if role.rank < least.rank:
            reason = f"This needs the role {least} or higher; yours is {role}: ask an admin."
            yield Skipped(each.pk, "permission_denied", reason)
        elif each.status not in action.fits:
            reason = f"It is {each.status}: {action.remedies[Status(each.status)]}."
            yield Skipped(each.pk, each.status, reason)
        elif objection := action.objection and action.objection(each, **given):
            yield Skipped(each.pk, "unchanged", objection)
        else:
            record_needed(each.organization, least)
