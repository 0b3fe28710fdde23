"""Which deployments that have waited too long go first now, and have capacity reserved for them."""

from collections.abc import Iterable
from dataclasses import dataclass

from scheduling.planner.snapshot import Deployment, Snapshot

Candidate = tuple[int, Deployment, int]


@dataclass(frozen=True, slots=True)
class Turn:
    """When the deployment with this index goes first in its level.

    `now`: its turn has begun and has not ended. `changes_at` is when that changes, in seconds since
    the epoch, provided that no other deployment enters or leaves the queue.
    """

    index: int
    now: bool
    changes_at: int


def turns(snapshot: Snapshot, candidates: Iterable[Candidate], whole: int) -> list[Turn]:
    """Return the deployments that take turns.

    A candidate is the index of a ready deployment that could run, the deployment, and its share;
    `whole` is the share of the total capacity. The candidates that have waited longer than
    `starvation_seconds` are grouped by the number of times that their wait has doubled since then.
    Of each group, the one with the highest priority takes turns, and of several the longest
    waiting. Each period begins with a turn: as long as `starvation_seconds` in the first group, and
    twice as long in each further one. So a period is never longer than the wait. In all groups
    together, turns take so little of the time that the capacity that they could keep idle is at
    most `reservation_percent` of the total. Because they become longer with the wait, a turn is
    long enough in the end for the active deployments to leave, however long they run.
    """
    policy = snapshot.policy
    base = max(policy.starvation_seconds, 1)
    first: dict[int, tuple[tuple[int, int, int], Candidate]] = {}
    for candidate in candidates:
        d = candidate[1]
        wait = snapshot.now - d.waits_since
        if wait > policy.starvation_seconds:
            doublings = (wait // base).bit_length() - 1
            key = (-d.priority, d.waits_since, d.id)
            if doublings not in first or key < first[doublings][0]:
                first[doublings] = key, candidate
    found = []
    for doublings, (_, (index, d, share)) in first.items():
        period = base << doublings
        parts = 100 * len(first) * max(share, 1)
        length = min(period * policy.reservation_percent * whole // parts, period)
        elapsed = snapshot.now % period
        now = elapsed < length
        change = snapshot.now - elapsed + (length if now and length < period else period)
        found.append(Turn(index, now, min(change, d.waits_since + 2 * period)))
    return found
