"""Cancel or stop all deployments that a filter selects, where role and status allow it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from django.db import transaction
from django.utils import timezone

from accounts.idempotency import record_needed
from accounts.models import User
from clusters.wakeups import request_cycle, request_reconcile
from deployments import lifecycle
from deployments.lifecycle import Change, Verb, transition
from deployments.models import DeploymentQuerySet, Status
from hypervisor.base.errors import Invalid
from orgs.models import Role
from orgs.permissions import roles_of

MAX_SELECTED = 10_000
"""The most deployments that have not ended that a filter may select."""

MAX_CHANGED = 1_000
"""The most deployments that one transaction changes: the audit trail gets a row for each."""

_REMEDIES = {
    Status.PENDING: "cancel it instead",
    Status.STARTING: "stop it instead",
    Status.RUNNING: "stop it instead",
    Status.STOPPING: "wait until it has stopped",
}


@dataclass(frozen=True, slots=True)
class Skipped:
    """A selected deployment that was not changed, and why; `code` is machine-readable."""

    deployment: int
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """The ids of the deployments that were changed, or would be, and the skipped deployments.

    `remaining` counts the deployments beyond the limit, which another call would change.
    """

    deployments: list[int]
    skipped: list[Skipped]
    remaining: int = 0


class _Selected(NamedTuple):
    pk: int
    status: str
    revision: int
    organization: int
    created_by: int | None


def cancel(rows: DeploymentQuerySet, *, user: User, limit: int | None, dry_run: bool) -> Outcome:
    """Remove pending deployments from the queue, in the order of their ids up to the limit."""
    reason = f"Cancelled by {user.username}."
    return _carry_out(rows, lifecycle.CANCEL, user, reason, limit, dry_run)


def stop(rows: DeploymentQuerySet, *, user: User, limit: int | None, dry_run: bool) -> Outcome:
    """Stop starting and running deployments, in the order of their ids up to the limit."""
    return _carry_out(rows, lifecycle.STOP, user, f"Stopped by {user.username}.", limit, dry_run)


@transaction.atomic
def _carry_out(
    rows: DeploymentQuerySet,
    verb: Verb,
    user: User,
    reason: str,
    limit: int | None,
    dry_run: bool,
) -> Outcome:
    selected = _selected(rows)
    skipped = list(_skipped(selected, verb, user))
    passed = {each.deployment for each in skipped}
    fitting = [each for each in selected if each.pk not in passed]
    chosen = fitting[:limit]
    _check_number(len(chosen))
    remaining = len(fitting) - len(chosen)
    if dry_run:
        return Outcome([each.pk for each in chosen], skipped, remaining)
    changed = _change(chosen, verb, user, reason)
    skipped += [
        Skipped(each.pk, "changed", "It has just changed: check its status and repeat the call.")
        for each in chosen
        if each.pk not in changed
    ]
    return Outcome(sorted(changed), sorted(skipped, key=lambda each: each.deployment), remaining)


def _change(chosen: list[_Selected], verb: Verb, user: User, reason: str) -> set[int]:
    """Change the deployments that are still as they were selected; return their ids."""
    changes = [Change(each.pk, reason, revision=each.revision) for each in chosen]
    formers = transition(verb, changes, actor=user.username, now=timezone.now())
    for organization in {each.organization for each in chosen if each.pk in formers}:
        request_cycle(organization)
    for cluster in {former for former in formers.values() if former is not None}:
        request_reconcile(cluster)
    return set(formers)


def _check_number(count: int) -> None:
    if count > MAX_CHANGED:
        raise Invalid(
            f"This would change {count} deployments, but one call changes at most {MAX_CHANGED}:"
            f" narrow the filter, or add limit={MAX_CHANGED} and repeat the call until `remaining`"
            " is 0.",
            attr="limit",
            code="too_many",
        )


def _selected(rows: DeploymentQuerySet) -> list[_Selected]:
    """Return the selected deployments that have not ended. Raises Invalid if they are too many."""
    columns = ("pk", "status", "revision", "organization_id", "created_by_id")
    live = rows.live().order_by("pk").values_list(*columns)
    found = [_Selected(*row) for row in live[: MAX_SELECTED + 1]]
    if len(found) > MAX_SELECTED:
        raise Invalid(
            f"The filter selects more than {MAX_SELECTED} deployments that have not ended: narrow"
            " it, for example by `name` or `created_by`.",
            code="too_many",
        )
    return found


def _skipped(selected: Iterable[_Selected], verb: Verb, user: User) -> Iterator[Skipped]:
    roles = roles_of(user)
    for each in selected:
        record_needed(each.organization, Role.VIEWER)
        least = Role.DEVELOPER if each.created_by == user.pk else Role.ADMIN
        role = roles.get(each.organization, Role.VIEWER)
        if role.rank < least.rank:
            reason = f"This needs the role {least} or higher; yours is {role}: ask an admin."
            yield Skipped(each.pk, "permission_denied", reason)
        elif each.status not in verb.sources:
            reason = f"It is {each.status}: {_REMEDIES[Status(each.status)]}."
            yield Skipped(each.pk, each.status, reason)
        else:
            record_needed(each.organization, least)
