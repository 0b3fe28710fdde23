"""Where deployments of a list stand: their places in the queue, and why they wait, in short.

The plan of each organization is made once, however many of its deployments are listed.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from clusters.models import Cluster
from deployments import waiting
from deployments.choices import Status
from deployments.models import Deployment
from scheduling.cycle.next_plan import plan_and_backlog
from scheduling.cycle.snapshot import Loaded, load_many
from scheduling.insight.explain import wait_reason
from scheduling.insight.forecast import Start, Starts
from scheduling.insight.organization_queue import NEXT
from scheduling.insight.shortages import Shortage, shortages_of
from scheduling.insight.wording import named, names_in

_CLUSTERS_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Standing:
    """Why a pending deployment waits, and, if it competes, its place in its organization's queue.

    `position` counts from 1, and `length` is that of the queue; both are None if it does not
    compete. The code is `next_cycle` if the next cycle places it. `shortages` are those of the
    first clusters, of `clusters` in all. `start` is when it will probably start.
    """

    code: str
    reason: str
    position: int | None = None
    length: int | None = None
    shortages: Sequence[Shortage] = ()
    clusters: int = 0
    start: Start | None = None


def standings(rows: Sequence[Deployment], now: datetime) -> dict[int, Standing]:
    """Return where the pending deployments among the rows stand, by id."""
    pending = [row for row in rows if row.status == Status.PENDING]
    obstacles = waiting.obstacles(pending, now) if pending else {}
    found = {pk: Standing(each.code, each.reason) for pk, each in obstacles.items()}
    competing: dict[int, list[int]] = defaultdict(list)
    for row in pending:
        if row.pk not in found:
            competing[row.organization_id].append(row.pk)
    if competing:
        clusters = Cluster.objects.filter(organization__in=competing)
        names = dict(clusters.values_list("pk", "name"))
        for loaded in load_many(sorted(competing), now=now).values():
            found |= dict(_by_plan(competing[loaded.organization], loaded, names))
    return found


def _by_plan(
    deployments: Sequence[int], loaded: Loaded, clusters: Mapping[int, str]
) -> Iterator[tuple[int, Standing]]:
    plan, backlog = plan_and_backlog(loaded)
    starts = Starts(loaded, plan, backlog)
    length = len(plan.served)
    positions = {pk: number for number, pk in plan.served.numbered(set(deployments))}
    starting = {p.deployment: p.reason for p in plan.placements}
    beyond = {pk: n for pk in deployments if (n := loaded.limits.beyond.get(pk)) is not None}
    waits = {pk: wait_reason(plan, pk) for pk in deployments if pk not in {*starting, *beyond}}
    names = names_in(waits.values())
    for pk in deployments:
        if pk in beyond:
            limit = waiting.beyond_limit(beyond[pk])
            yield pk, Standing(limit.code, limit.reason)
        elif pk in starting:
            yield pk, Standing(NEXT, starting[pk], positions.get(pk), length)
        else:
            short_on = waits[pk].clusters(_CLUSTERS_SHOWN)
            yield (
                pk,
                Standing(
                    waits[pk].code,
                    named(waits[pk], names),
                    positions.get(pk),
                    length,
                    list(shortages_of(short_on, clusters)),
                    short_on.number,
                    starts.of(pk, positions.get(pk)),
                ),
            )
