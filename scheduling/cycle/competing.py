"""The deployments that a plan is made of, which are kept while few of them change.

These are the active deployments and the ready ones within the limits of their arrays.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from operator import attrgetter

from scheduling.cycle.array_limits import Limits
from scheduling.cycle.kept import Kept
from scheduling.cycle.working_copy import Known, Reading, seconds
from scheduling.planner.shortlist import Step
from scheduling.planner.snapshot import Cluster, Deployment

_MOST_ORGANIZATIONS = 16
"""Of how many organizations a process keeps them, with all that is known of their deployments."""

_PART = 0.1
"""Up to this part of the deployments, those that have changed are replaced one by one."""

_id = attrgetter("id")


@dataclass(frozen=True, slots=True)
class _Moment:
    """What decides on a deployment besides what is known of it.

    `first` has the first node of each cluster that has nodes.
    """

    places: frozenset[tuple[int, int]]
    first: Mapping[int, int]
    limits: Limits
    now: datetime

    @classmethod
    def of(cls, clusters: Sequence[Cluster], limits: Limits, now: datetime) -> "_Moment":
        places = frozenset((c.id, node.id) for c in clusters for node in c.nodes)
        return cls(places, {c.id: c.nodes[0].id for c in clusters if c.nodes}, limits, now)

    def leads_to(self, later: "_Moment") -> bool:
        """Return whether what is decided now stays so, apart from deployments in back-off."""
        return (
            self.places == later.places
            and self.first == later.first
            and self.limits == later.limits
            and not self.limits.entered  # their wait begins now
            and self.now <= later.now
        )

    def row(self, entry: Known) -> Deployment | None:
        """Return the deployment as the planner should see it, None if it does not compete.

        The wait of an element of an array begins when it may compete, not with its submission.

        Without the lock, a cluster or a node may be added and get deployments after they were read.
        A process of the former release, which does not know nodes, may place a deployment on a
        cluster during an upgrade. If the cluster has several nodes, the first counts as its node,
        until it is requeued.
        """
        deployment = entry.deployment
        if deployment.cluster is None:
            if not entry.is_ready(self.now) or deployment.id in self.limits.beyond:
                return None
            is_new = deployment.id in self.limits.entered
            return replace(deployment, ready_since=seconds(self.now)) if is_new else deployment
        if (deployment.cluster, deployment.node) in self.places:
            return deployment
        if deployment.node is None and deployment.cluster in self.first:
            return replace(deployment, node=self.first[deployment.cluster])
        return None


@dataclass(frozen=True, slots=True)
class _Rows:
    """The deployments of what was known at a moment. One in back-off is ready at `until`.

    `step` led to them, unless they were all read.
    """

    known: Mapping[int, Known]
    moment: _Moment
    until: datetime | None
    rows: tuple[Deployment, ...]
    step: Step | None = None


_kept: Kept[_Rows] = Kept(_MOST_ORGANIZATIONS)


def competing(
    organization: int,
    reading: Reading,
    clusters: Sequence[Cluster],
    limits: Limits,
    now: datetime,
    *,
    is_tried: bool = False,
) -> tuple[tuple[Deployment, ...], Step | None]:
    """Return the deployments of an organization that a plan is made of, by id in order, and the
    step that led to them from former ones, if that is known.

    While none of them changes, they are the same object. `is_tried`: they are those after a change
    that was rolled back.
    """
    moment = _Moment.of(clusters, limits, now)
    former = _kept.get(organization)
    present = _brought_up(former, reading, moment) or _all(reading.known, moment)
    if not (is_tried or reading.own) and present is not former:
        _kept.keep({organization: present})
    return present.rows, present.step


def _all(known: Mapping[int, Known], moment: _Moment) -> _Rows:
    rows = tuple([row for entry in known.values() if (row := moment.row(entry)) is not None])
    return _Rows(known, moment, _next_ready(known.values(), moment.now), rows)


def _brought_up(former: _Rows | None, reading: Reading, moment: _Moment) -> _Rows | None:
    """Return the former ones with those replaced that have changed; None if all may have."""
    if former is None or not former.moment.leads_to(moment):
        return None
    if former.until is not None and former.until <= moment.now:
        return None
    if former.known is reading.known:
        return former
    if former.known is not reading.former or len(reading.changed) > _PART * len(former.rows):
        return None
    rows, removed, added = list(former.rows), list[Deployment](), list[Deployment]()
    for pk in reading.changed:
        at = bisect_left(rows, pk, key=_id)
        entry = reading.known.get(pk)
        row = None if entry is None else moment.row(entry)
        is_there = at < len(rows) and rows[at].id == pk
        present = [] if row is None else [row]
        removed += rows[at : at + is_there]
        added += present
        rows[at : at + is_there] = present
    changed = [entry for pk in reading.changed if (entry := reading.known.get(pk))]
    times = [former.until, _next_ready(changed, moment.now)]
    until = min((time for time in times if time is not None), default=None)
    step = Step(former.rows, removed, added)
    return _Rows(reading.known, moment, until, tuple(rows), step)


def _next_ready(entries: Iterable[Known], now: datetime) -> datetime | None:
    """Return when the first of these that are in back-off is ready."""
    times = [e.ready_after for e in entries if e.ready_after is not None and e.ready_after > now]
    return min(times, default=None)
