"""Wait reasons and forecasts as sentences, with names, which the planner does not know."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from math import ceil

from django.utils import timezone

from deployments.models import Deployment
from hypervisor.base.durations import in_words
from scheduling.planner.forecast import MOST, Unknown
from scheduling.planner.plan import WaitReason


def names_in(waits: Iterable[WaitReason]) -> dict[int, str]:
    """Read the names of the deployments that the reasons propose to move, by id."""
    ids = {wait.move["deployment"] for wait in waits if wait.move}
    return dict(Deployment.objects.filter(pk__in=ids).values_list("pk", "name"))


def named(wait: WaitReason, names: Mapping[int, str]) -> str:
    """Return the reason, with the name of the deployment that it proposes to move."""
    return with_name(wait.reason, wait.move, names)


def with_name(reason: str, move: Mapping[str, int], names: Mapping[int, str]) -> str:
    """Return the reason that proposes this move, if any, with the name of what it moves."""
    id_ = move.get("deployment")
    if id_ is None or id_ not in names:
        return reason
    return reason.replace(f"moving deployment {id_} ", f"moving {names[id_]} ({id_}) ")


NAMED = 3
"""How many deployments a sentence names."""

_GRAINS = ((600, 60), (3600, 300), (6 * 3600, 900), (2 * 86_400, 3600))
_COARSE = 6 * 3600
"""A moment is rounded to the more, the further away it is; both in seconds."""


def about(moment: datetime) -> str:
    """Return when something will probably happen, such as `in about 25 min (13:10 UTC)`."""
    now = timezone.now()
    grain = _grain(moment, now)
    rest = max(round((moment - now).total_seconds() / grain), 1) * grain
    return f"in about {in_words(rest)} ({_clock(moment, now, grain)})"


def clock(moment: datetime) -> str:
    """Return about when something will probably happen, such as `13:10 UTC`."""
    now = timezone.now()
    return _clock(moment, now, _grain(moment, now))


def forecast(expected: datetime, by: datetime | None, place: str, needs: Sequence[str]) -> str:
    """Return when a deployment will probably start, and by when at the latest, as sentences."""
    now = timezone.now()
    if expected <= now:
        return f"The next cycle places it{' on ' + place if place else ''}."
    text = f"Probably starts {about(expected)} on {place}"
    if needs:
        text += f", when {_listed(needs)} {'has' if len(needs) == 1 else 'have'} ended"
    if by is not None and by > expected:
        latest = _clock(by, now, _grain(by, now), up=True)
        text += f"; by {latest} if each runs as long as it may"
    return f"{text}. New submissions may change that."


def no_forecast(code: str, place: str, needs: Sequence[str]) -> str:
    """Return why there is no forecast as a sentence; empty if the wait reason says it."""
    match code:
        case Unknown.AHEAD:
            return f"No forecast: more than {MOST:,} deployments wait ahead of it."
        case Unknown.FAR:
            return "No forecast: too much has to happen before it starts."
        case Unknown.ENDLESS:
            has, whose = ("have", "their users'") if len(needs) > 1 else ("has", "its user's")
            return (
                f"No forecast: {_listed(needs)} on {place} {has} to end first, but {has} no run"
                f" time limit, and none of {whose} deployments has ended yet."
            )
    return ""


def _listed(names: Sequence[str]) -> str:
    """Return `a`, `a and b`, `a, b and c` or `a, b, c and 4 more`."""
    shown = list(names[:NAMED])
    if len(names) > NAMED:
        shown.append(f"{len(names) - NAMED:,} more")
    return " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))


def _grain(moment: datetime, now: datetime) -> int:
    rest = (moment - now).total_seconds()
    return next((grain for below, grain in _GRAINS if rest < below), _COARSE)


def _clock(moment: datetime, now: datetime, grain: int, *, up: bool = False) -> str:
    """Return the moment on the clock, rounded to this many seconds, with its day if not today."""
    parts = moment.timestamp() / grain
    rounded = datetime.fromtimestamp((ceil(parts) if up else round(parts)) * grain, UTC)
    day = "" if rounded.date() == now.astimezone(UTC).date() else f"{rounded:%Y-%m-%d} "
    return f"{day}{rounded:%H:%M} UTC"
