"""Why a pending deployment does not compete: it is held, has an unmet dependency, or backs off.

An element of an array does not compete either while the array's limit is reached, which only the
scheduling cycle knows.
Its row has the reason from its submission on. `refresh` updates the rows when dependencies change.
"""

from collections import defaultdict
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import NamedTuple

from django.db import transaction
from django.db.models import Exists, OuterRef, Q

from deployments import wait_codes
from deployments.choices import ENDED, OnDependencyFailure, Status
from deployments.lifecycle import Change, record_wait_reasons, update_reasons
from deployments.models import Dependency, Deployment, DeploymentQuerySet

NEXT_CYCLE = "Waits for the next scheduling cycle."

_ON_OTHERS = (wait_codes.DEPENDENCY, wait_codes.DEPENDENCY_ENDED)

_HELD = "Held: waits until it is released."

_NAMED = 3
"""How many dependencies the reason of a cancellation names."""

_PAST = {
    Status.COMPLETED: "completed",
    Status.FAILED: "failed",
    Status.STOPPED: "was stopped",
    Status.CANCELLED: "was cancelled",
}


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a pending deployment does not compete: a code and a lasting reason.

    `details` has a sentence for each thing that it waits for, with the present status of each
    dependency; `code` and `reason` change only when someone has to act.
    """

    code: str
    reason: str
    details: tuple[str, ...]


class _Unmet(NamedTuple):
    """An unmet dependency: its condition, and the deployment that it refers to."""

    condition: str
    pk: int
    name: str
    status: str
    code: str
    held: bool


def obstacle(deployment: Deployment, now: datetime) -> Obstacle | None:
    """Return why a pending deployment does not compete, None if it does."""
    return obstacles([deployment], now).get(deployment.pk)


def obstacles(deployments: Sequence[Deployment], now: datetime) -> dict[int, Obstacle]:
    """Return why pending deployments do not compete, by id; none for deployments that do."""
    return _obstacles(deployments, on_others([row.pk for row in deployments]), now)


@cache
def beyond_limit(at_once: int) -> Obstacle:
    """Return the obstacle of an element whose array runs at most this many at once."""
    many = "one element" if at_once == 1 else f"{at_once:,} elements"
    reason = f"Its array runs at most {many} at once: waits until another one has ended."
    return Obstacle(wait_codes.ARRAY_LIMIT, reason, (reason,))


def on_others(deployments: Sequence[int]) -> dict[int, Obstacle]:
    """Return the unmet dependencies of deployments as obstacles, by id; none without any."""
    return {pk: _dependency(found) for pk, found in _unmet(deployments).items()}


def cancellations(organization: int) -> list[Change]:
    """Return the cancellations of deployments that ask for it if a dependency has ended without
    satisfying them, or ends by these cancellations; each is behind those that it follows from.
    """
    rows = Deployment.objects.pending().filter(
        organization=organization, on_dependency_failure=OnDependencyFailure.CANCEL
    )
    revisions = dict(rows.values_list("pk", "revision"))
    unmet = _unmet(list(revisions))
    dependents = _dependents(unmet)
    found: dict[int, Change] = {}
    level = [pk for pk, waits in unmet.items() if any(on.status in ENDED for on in waits)]
    while level:
        causes = {pk: [on for each in unmet[pk] if (on := _ended(each, found))] for pk in level}
        found |= {
            pk: Change(pk, _cancellation(ended), revision=revisions[pk])
            for pk, ended in causes.items()
        }
        level = sorted({waits for pk in level for waits in dependents[pk]} - found.keys())
    return list(found.values())


def _ended(on: _Unmet, cancelled: Container[int]) -> _Unmet | None:
    """Return a dependency as it is after these cancellations if it has ended then."""
    if on.pk in cancelled:
        return on._replace(status=Status.CANCELLED)
    return on if on.status in ENDED else None


def _cancellation(ended: Sequence[_Unmet]) -> str:
    clauses = [
        f"deployment {on.pk} ({on.name}) {_PAST[Status(on.status)]}" for on in ended[:_NAMED]
    ]
    if others := len(ended) - len(clauses):
        clauses.append(f"{others:,} more of its dependencies ended as well")
    *first, last = clauses
    because = f"{', '.join(first)} and {last}" if first else last
    which = f"deployment {ended[0].pk}" if len(ended) == 1 else "them"
    return f"Cancelled because {because}. To run it, start {which} again, then this one."


def has_dependents(organization: int) -> bool:
    """Return whether a pending deployment of the organization has a dependency."""
    rows = Dependency.objects.filter(
        deployment__organization=organization, deployment__status=Status.PENDING
    )
    # A count, because PostgreSQL expects that exists() finds a row soon, and would look up many.
    return rows.count() > 0


def refresh(now: datetime, *, actor: str, organization: int | None = None) -> list[int]:
    """Update the reasons of pending deployments with dependencies, with an event for each change.

    Returns the ids of the changed deployments. With None, all organizations are refreshed, which
    the periodic job does in case a request for a cycle was lost.
    """
    rows = list(_concerned(organization))
    unmet = _followed(_unmet([row.pk for row in rows]))
    found = _obstacles(rows, {pk: _dependency(each) for pk, each in unmet.items()}, now)
    waits = {r.pk: found[r.pk] for r in rows if r.pk in found and _differs(r, found[r.pk])}
    changed = update_reasons(
        "waits",
        [Change(pk, o.reason, data={"code": o.code}) for pk, o in waits.items()],
        statuses=(Status.PENDING,), actor=actor, now=now,
    )  # fmt: skip
    return changed + _report_met([row.pk for row in rows if row.pk not in found], actor, now)


def follow_holds(now: datetime) -> int:
    """Correct the reasons of deployments whose `held` was changed without a service, as by SQL.

    No cycle writes the reason of a held deployment, nor of one that does not compete. Returns how
    many were corrected. A locked row is left for the next time.
    """
    rows = Deployment.objects.pending().order_by("pk")
    with transaction.atomic():
        held = rows.filter(held=True).exclude(status_code=wait_codes.HELD)
        pks = list(held.locked(skip_locked=True).values_list("pk", flat=True))
        Deployment.objects.filter(pk__in=pks).update(
            status_code=wait_codes.HELD, status_reason=_HELD
        )
        released = list(rows.filter(held=False, status_code=wait_codes.HELD))
        found = obstacles(released, now)
        reasons = {pk: (each.code, each.reason) for pk, each in found.items()}
        return len(pks) + record_wait_reasons(reasons)


def _obstacles(
    deployments: Sequence[Deployment], waits: Mapping[int, Obstacle], now: datetime
) -> dict[int, Obstacle]:
    found = {}
    for deployment in deployments:
        if deployment.held:
            found[deployment.pk] = _held(deployment)
        elif deployment.pk in waits:
            found[deployment.pk] = waits[deployment.pk]
        elif deployment.ready_after and deployment.ready_after > now:
            found[deployment.pk] = _backoff(deployment, deployment.ready_after)
    return found


def _unmet(deployments: Sequence[int]) -> dict[int, list[_Unmet]]:
    rows = Dependency.objects.unmet().filter(deployment__in=deployments)
    unmet: dict[int, list[_Unmet]] = defaultdict(list)
    for values in rows.values_list(
        "deployment", "condition", "on", "on__name", "on__status", "on__status_code", "on__held"
    ):
        unmet[values[0]].append(_Unmet(*values[1:]))
    return unmet


def _followed(unmet: Mapping[int, list[_Unmet]]) -> dict[int, list[_Unmet]]:
    """Return the unmet dependencies with the codes that their deployments should have by now.

    The stored codes may be out of date, because in a chain each depends on the next.
    """
    dependents = _dependents(unmet)
    blocked = {pk for pk, found in unmet.items() if any(on.status in ENDED for on in found)}
    reached = list(blocked)
    while reached:
        further = set(dependents[reached.pop()]) - blocked
        blocked |= further
        reached += further
    codes = {True: wait_codes.DEPENDENCY_ENDED, False: wait_codes.DEPENDENCY}
    return {
        pk: [on._replace(code=codes[on.pk in blocked]) for on in found]
        for pk, found in unmet.items()
    }


def _dependents(unmet: Mapping[int, list[_Unmet]]) -> dict[int, list[int]]:
    """Return which deployments wait for each one."""
    dependents: dict[int, list[int]] = defaultdict(list)
    for pk, found in unmet.items():
        for on in found:
            dependents[on.pk].append(pk)
    return dependents


def _report_met(deployments: Sequence[int], actor: str, now: datetime) -> list[int]:
    kind = "dependency_met"
    reason = f"All dependencies are met. {NEXT_CYCLE}"
    changes = [Change(pk, reason, data={"code": kind}) for pk in deployments]
    return update_reasons(kind, changes, statuses=(Status.PENDING,), actor=actor, now=now)


def _concerned(organization: int | None) -> DeploymentQuerySet:
    """Return the pending deployments with an unmet dependency, or whose stored code is of one.

    Only those with a dependency are looked at, which may be few of many that wait.
    """
    unmet = Exists(Dependency.objects.unmet().filter(deployment=OuterRef("pk")))
    dependents = Dependency.objects.values("deployment")
    rows = Deployment.objects.pending().filter(held=False, pk__in=dependents)
    if organization is not None:
        rows = rows.filter(organization=organization)
    rows = rows.filter(unmet | Q(status_code__in=_ON_OTHERS)).order_by("pk")
    return rows.only("status_code", "status_reason", "held", "ready_after")


def _differs(row: Deployment, found: Obstacle) -> bool:
    return (row.status_code, row.status_reason) != (found.code, found.reason)


def _held(deployment: Deployment) -> Obstacle:
    own = deployment.status_code == wait_codes.HELD
    reason = deployment.status_reason if own else _HELD
    return Obstacle(wait_codes.HELD, reason, (reason,))


def _backoff(deployment: Deployment, until: datetime) -> Obstacle:
    """Return the stored reason if it is what began the back-off, otherwise when it ends."""
    code, reason = deployment.status_code, deployment.status_reason
    if code in (wait_codes.HELD, wait_codes.ARRAY_LIMIT, *_ON_OTHERS):
        code = wait_codes.BACKOFF
        reason = f"In back-off: competes again at {until:%Y-%m-%d %H:%M:%S} UTC."
    return Obstacle(code, reason, (reason,))


def _dependency(unmet: Sequence[_Unmet]) -> Obstacle:
    sentences = [_sentences(on) for on in unmet]
    blocked = any(_is_blocked(on) for on in unmet)
    return Obstacle(
        wait_codes.DEPENDENCY_ENDED if blocked else wait_codes.DEPENDENCY,
        " ".join(lasting for lasting, _ in sentences),
        tuple(detail for _, detail in sentences),
    )


def _is_blocked(on: _Unmet) -> bool:
    """Whether the dependency cannot be met unless someone acts."""
    return on.status in ENDED or (
        on.status == Status.PENDING and on.code == wait_codes.DEPENDENCY_ENDED
    )


def _sentences(on: _Unmet) -> tuple[str, str]:
    """Return a sentence that changes only when someone has to act, and one with the status."""
    wait = f"Waits for deployment {on.pk} ({on.name}) to be {on.condition}"
    if on.status in ENDED:
        past = _PAST[Status(on.status)]
        text = f"{wait}, but it {past}: start it again, or change `depends_on`."
    elif on.status == Status.PENDING and on.held:
        text = f"{wait}, but it is held: an admin has to release it first."
    elif _is_blocked(on):
        text = f"{wait}, but it cannot start either: see its reason, or change `depends_on`."
    else:
        return f"{wait}.", f"{wait}; it is {on.status}."
    return text, text
