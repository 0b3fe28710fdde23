"""Which elements of arrays may compete, so that never more than `at_once` of them are active.

As many elements of an array enter the snapshot as may become active in addition to those that are:
the first by priority, then by time in the queue, then by id. However the planner decides, the limit
holds. The others wait outside the plan, like held deployments.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

from deployments.wait_codes import ARRAY_LIMIT
from scheduling.cycle.working_copy import Known


class Limits(NamedTuple):
    """What limits of arrays mean for ready elements, by their ids.

    `beyond` are those that may not compete, with the number that may be active; `entered` are those
    that may now, but could not in the last cycle.
    """

    beyond: Mapping[int, int]
    entered: frozenset[int]


def limits(limited: Iterable[Known], now: datetime) -> Limits:
    """Return what the limits of arrays mean now; `limited` are those that concern them."""
    active: Counter[int] = Counter()
    ready: dict[int, list[Known]] = defaultdict(list)
    entered: set[int] = set()
    for entry in limited:
        if entry.limit is None:
            if entry.code == ARRAY_LIMIT and entry.is_ready(now):
                entered.add(entry.deployment.id)  # the limit was lifted
        elif entry.deployment.cluster is not None:
            active[entry.limit.array] += 1
        elif entry.is_ready(now):
            ready[entry.limit.array].append(entry)
    beyond = {}
    for array, entries in ready.items():
        for place, entry in enumerate(sorted(entries, key=_turn), start=active[array]):
            if entry.limit and place >= entry.limit.at_once:
                beyond[entry.deployment.id] = entry.limit.at_once
            elif entry.code == ARRAY_LIMIT:
                entered.add(entry.deployment.id)
    return Limits(beyond, frozenset(entered))


def before(known: Mapping[int, Known], deployment: int, now: datetime) -> tuple[int, list[int]]:
    """Return how many elements of a ready element's array are active, and the ids of the ready ones
    whose turn is before its own, in order.
    """
    own = known[deployment]
    array = own.limit and own.limit.array
    others = [each for each in known.values() if each.limit and each.limit.array == array]
    active = sum(each.deployment.cluster is not None for each in others)
    ready = sorted((each for each in others if each.is_ready(now)), key=_turn)
    return active, [each.deployment.id for each in ready if _turn(each) < _turn(own)]


def _turn(entry: Known) -> tuple[int, int, int]:
    row = entry.deployment
    return -row.priority, row.queued_at, row.id
