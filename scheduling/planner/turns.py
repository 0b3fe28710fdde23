"""Which deployments that have waited too long go first now, and have capacity reserved for them."""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

from scheduling.planner.snapshot import Deployment, Snapshot

Candidate = tuple[Deployment, int]


@dataclass(frozen=True, slots=True)
class Turn:
    """When the deployment with this id goes first in its level.

    `now`: its turn has begun and has not ended. `changes_at` is when that changes, in seconds since
    the epoch, provided that no other deployment enters or leaves the queue.
    """

    deployment: int
    now: bool
    changes_at: int


def turns(snapshot: Snapshot, candidates: Iterable[Candidate], whole: int) -> list[Turn]:
    """Return the deployments that take turns.

    A candidate is a ready deployment that could run, and its share; `whole` is the share of the
    total capacity. The candidates that have waited longer than
    `starvation_seconds` are grouped by their periods. Of each group, the one with the highest
    priority takes turns, and of several the longest waiting. Each period begins with a turn. In all
    groups together, turns take so little of the time that the capacity that they could keep idle is
    at most `reservation_percent` of the total. Because they become longer with the wait, a turn is
    long enough in the end for the active deployments to leave, however long they run.
    """
    policy = snapshot.policy
    shortest, doublings = max(policy.starvation_seconds, 1), _doublings(snapshot)
    first: dict[int, tuple[tuple[int, int, int], Candidate]] = {}
    for candidate in candidates:
        d = candidate[0]
        since = d.waits_since
        if snapshot.now - since > policy.starvation_seconds:
            period = shortest << bisect_right(doublings, -since)
            key = -d.priority, since, d.id
            if period not in first or key < first[period][0]:
                first[period] = key, candidate
    found = []
    for period, (_, (d, share)) in first.items():
        parts = 100 * len(first) * max(share, 1)
        length = min(period * policy.reservation_percent * whole // parts, period)
        elapsed = snapshot.now % period
        now = elapsed < length
        change = snapshot.now - elapsed + (length if now else period)
        found.append(Turn(d.id, now, change))
    return found


def ends_of_periods(snapshot: Snapshot) -> list[int]:
    """Return, in ascending order, at the latest when the waits of each group began; see `turns`."""
    latest = snapshot.now - snapshot.policy.starvation_seconds - 1
    bounds = [min(-each, latest) for each in _doublings(snapshot)]
    return [*reversed(bounds), latest]


def _doublings(snapshot: Snapshot) -> list[int]:
    """Return, negated and ascending, until when a deployment must have waited for its period to be
    doubled once, twice and so on.

    A period is `starvation_seconds`, doubled as long as it is at most the wait when the period
    began. Since each period begins at a multiple of its length, no turn ends early because the
    deployment gets a longer period.
    """
    doublings, period = [], 2 * max(snapshot.policy.starvation_seconds, 1)
    while period <= snapshot.now:
        doublings.append(period + snapshot.now % period - snapshot.now)
        period *= 2
    return doublings
