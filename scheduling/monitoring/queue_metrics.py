"""Measure the queue: how many deployments wait, for how long, and whether they should."""

from collections import defaultdict
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import Count, Min, Q

from deployments.models import Deployment
from scheduling.cycle.next_plan import next_plan
from scheduling.cycle.snapshot import Loaded, load_many
from scheduling.models import Sample
from scheduling.planner.fairness import Inversion, Packing, inversions, packing
from scheduling.planner.problem import is_starved
from scheduling.planner.reserved import holders
from scheduling.planner.resources import NOTHING, Resources
from scheduling.planner.snapshot import Place

_GRACE_S = 20
"""How long a periodic cycle may take, from its due time until its plan is applied."""


class Backlog:
    """The pending deployments at one moment, and the priority inversions among them."""

    def __init__(self, now: datetime, last: Sample | None) -> None:
        self.reserved: dict[int, dict[str, int]] = {}
        """By cluster, the amounts reserved for deployments that have waited too long."""
        self._now = now
        self._before = last.suspects if last else {}
        self._suspects: dict[str, list[float]] = {}
        self._confirmed: list[Inversion] = []
        self._shares: list[Packing] = []
        self._starving = 0
        ready = Deployment.objects.ready(now).within_limits().order_by()
        self._by_priority = list(
            ready.values("priority").annotate(count=Count("pk"), oldest=Min("queued_at"))
        )
        organizations = sorted(ready.values_list("organization", flat=True).distinct())
        for loaded in load_many(organizations, now=now).values():
            self._add(loaded)

    def columns(self) -> dict[str, Any]:
        ready = {str(row["priority"]): row["count"] for row in self._by_priority}
        pending = Deployment.objects.pending().aggregate(
            # The index of pending deployments has this column, but not the key.
            total=Count("held"),
            held_back=Count("held", filter=Q(held=True)),
            later=Count("held", filter=Q(held=False, ready_after__gt=self._now)),
        )
        shown = sum(ready.values()) + pending["held_back"] + pending["later"]
        oldest = min((row["oldest"] for row in self._by_priority), default=self._now)
        return {
            "ready": ready,
            "held_back": pending["held_back"],
            "delayed": pending["later"],
            "dependent": max(pending["total"] - shown, 0),
            "starving": self._starving,
            "longest_wait_s": max(int((self._now - oldest).total_seconds()), 0),
            "inverted": sum(not i.overlooked for i in self._confirmed),
            "overlooked": sum(i.overlooked for i in self._confirmed),
            "packed": sum(s.packed for s in self._shares) if self._shares else None,
            "packable": sum(s.packable for s in self._shares) if self._shares else None,
            "suspects": self._suspects,
            "reserved": {str(cluster): amounts for cluster, amounts in self.reserved.items()},
        }

    def _add(self, loaded: Loaded) -> None:
        snapshot = loaded.snapshot
        starving = sum(d.cluster is None and is_starved(d, snapshot) for d in snapshot.deployments)
        self._starving += starving
        reserved_for = self._reserved_for(loaded) if starving else {}
        share = packing(snapshot)
        if share:
            self._shares.append(share)
        for found in inversions(snapshot, reserved_for):
            self._suspect(found, loaded.known[found.deployment].revision)

    def _reserved_for(self, loaded: Loaded) -> dict[Place, int]:
        """Plan, and return by node the deployment that capacity is reserved for."""
        found = {}
        totals: dict[int, Resources] = defaultdict(lambda: NOTHING)
        for place, holder in holders(next_plan(loaded)).items():
            found[place] = holder
            totals[place[0]] += loaded.known[holder].deployment.request
        self.reserved |= {cluster: total.to_json() for cluster, total in totals.items()}
        return found

    def _suspect(self, found: Inversion, revision: int) -> None:
        """Record the inversion; it counts once it has outlasted a periodic cycle."""
        now = self._now.timestamp()
        known = self._before.get(str(found.deployment))
        since = known[1] if known and known[0] == revision else now
        self._suspects[str(found.deployment)] = [revision, since]
        if now - since >= settings.SCHEDULER_INTERVAL + _GRACE_S:
            self._confirmed.append(found)
