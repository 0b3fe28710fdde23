"""Why a pending deployment does not compete at all: held, a dependency, a back-off.

Its row says so from the submission on. `refresh` keeps the rows right when dependencies change.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from django.db.models import Exists, OuterRef, Q

from deployments.lifecycle import Change, remark
from deployments.models import ENDED, Dependency, Deployment, DeploymentQuerySet, Status

HELD = "held"
DEPENDENCY = "dependency"
DEPENDENCY_ENDED = "dependency_ended"
"""It waits for what has ended otherwise, directly or through others."""
BACKOFF = "backoff"
NEXT_CYCLE = "Waits for the next scheduling cycle."

_ON_OTHERS = (DEPENDENCY, DEPENDENCY_ENDED)


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why it does not compete: a code and a reason, which change only when that does.

    `details` has a sentence for each thing that it waits for, as that is at this moment.
    """

    code: str
    reason: str
    details: tuple[str, ...]


class _Unmet(NamedTuple):
    """A dependency that does not hold: its condition, and the deployment that is waited for."""

    condition: str
    pk: int
    name: str
    status: str
    code: str
    held: bool


def obstacle(deployment: Deployment, now: datetime) -> Obstacle | None:
    """Return what keeps a pending deployment from competing, None when nothing does."""
    return obstacles([deployment], now).get(deployment.pk)


def obstacles(deployments: Sequence[Deployment], now: datetime) -> dict[int, Obstacle]:
    """Return these for many pending deployments at once, by id."""
    return _obstacles(deployments, on_others([row.pk for row in deployments]), now)


def on_others(deployments: Sequence[int]) -> dict[int, Obstacle]:
    """Return for which dependencies these deployments wait, by id; none for those that do not."""
    return {pk: _dependency(found) for pk, found in _unmet(deployments).items()}


def refresh(now: datetime, *, actor: str, organization: int | None = None) -> list[int]:
    """Make pending rows say what they wait for; an event for each that said something else.

    A lost request for a cycle costs time only: the periodic job refreshes all organizations.
    """
    rows = list(_concerned(organization))
    unmet = _followed(_unmet([row.pk for row in rows]))
    found = _obstacles(rows, {pk: _dependency(those) for pk, those in unmet.items()}, now)
    waits = {r.pk: found[r.pk] for r in rows if r.pk in found and _differs(r, found[r.pk])}
    changed = remark(
        "waits",
        [Change(pk, o.reason, data={"code": o.code}) for pk, o in waits.items()],
        statuses=(Status.PENDING,), actor=actor, now=now,
    )  # fmt: skip
    return changed + _tell_met([row.pk for row in rows if row.pk not in found], actor, now)


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
    """Return these with the codes that follow for the deployments that are waited for.

    Their rows may say something older, and a chain may be long.
    """
    dependents: dict[int, list[int]] = defaultdict(list)
    for pk, found in unmet.items():
        for on in found:
            dependents[on.pk].append(pk)
    in_vain = {pk for pk, found in unmet.items() if any(on.status in ENDED for on in found)}
    reached = list(in_vain)
    while reached:
        further = set(dependents[reached.pop()]) - in_vain
        in_vain |= further
        reached += further
    codes = {True: DEPENDENCY_ENDED, False: DEPENDENCY}
    return {
        pk: [on._replace(code=codes[on.pk in in_vain]) for on in found]
        for pk, found in unmet.items()
    }


def _tell_met(deployments: Sequence[int], actor: str, now: datetime) -> list[int]:
    kind = "dependency_met"
    reason = f"All of its dependencies are met. {NEXT_CYCLE}"
    changes = [Change(pk, reason, data={"code": kind}) for pk in deployments]
    return remark(kind, changes, statuses=(Status.PENDING,), actor=actor, now=now)


def _concerned(organization: int | None) -> DeploymentQuerySet:
    """Return the pending ones that wait for others, or say that they do."""
    unmet = Exists(Dependency.objects.unmet().filter(deployment=OuterRef("pk")))
    rows = Deployment.objects.pending().filter(held=False)
    if organization is not None:
        rows = rows.filter(organization=organization)
    rows = rows.filter(unmet | Q(status_code__in=_ON_OTHERS)).order_by("pk")
    return rows.only("status_code", "status_reason", "held", "ready_after")


def _differs(row: Deployment, found: Obstacle) -> bool:
    return (row.status_code, row.status_reason) != (found.code, found.reason)


def _held(deployment: Deployment) -> Obstacle:
    own = deployment.status_code == HELD
    reason = deployment.status_reason if own else "Held: waits until it is released."
    return Obstacle(HELD, reason, (reason,))


def _backoff(deployment: Deployment, until: datetime) -> Obstacle:
    """Return what began the back-off, if the row still says so, and otherwise when it ends."""
    code, reason = deployment.status_code, deployment.status_reason
    if code in (HELD, *_ON_OTHERS):
        code = BACKOFF
        reason = f"Is in back-off: competes again at {until:%Y-%m-%d %H:%M:%S} UTC."
    return Obstacle(code, reason, (reason,))


def _dependency(unmet: Sequence[_Unmet]) -> Obstacle:
    sentences = [_sentences(on) for on in unmet]
    in_vain = any(_is_in_vain(on) for on in unmet)
    return Obstacle(
        DEPENDENCY_ENDED if in_vain else DEPENDENCY,
        " ".join(lasting for lasting, _ in sentences),
        tuple(detail for _, detail in sentences),
    )


def _is_in_vain(on: _Unmet) -> bool:
    return on.status in ENDED or (on.status == Status.PENDING and on.code == DEPENDENCY_ENDED)


def _sentences(on: _Unmet) -> tuple[str, str]:
    """Return a sentence that changes only when somebody has to act, and one with the status."""
    what = f"Waits for deployment {on.pk} ({on.name}) to be {on.condition}"
    if on.status in ENDED:
        said = f"{what}; it is {on.status}: start it again, or change `depends_on`."
    elif on.status == Status.PENDING and on.held:
        said = f"{what}; it is {on.status} and held: it must be released first."
    elif _is_in_vain(on):
        said = f"{what}; it cannot start either: see what it waits for, or change `depends_on`."
    else:
        return f"{what}.", f"{what}; it is {on.status}."
    return said, said
