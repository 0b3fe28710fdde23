"""The next plan of an organization, which is kept until something changes.

Planning costs what waits, but while nothing changes, the plan of a moment ago is still right: for
the next cycle, which then has nothing to do, and for everybody who asks why something waits. When
something changes, the next plan takes over what the planner has sorted for the last one.
"""

from dataclasses import dataclass

from scheduling.cycle.kept import Kept
from scheduling.cycle.snapshot import Loaded
from scheduling.planner.pipeline import make_plan
from scheduling.planner.plan import Plan
from scheduling.planner.shortlist import Backlog
from scheduling.planner.validity import valid_until

_MOST_PLANS = 16
"""How many plans a process keeps. Each has the search's data, a few KiB for each deployment."""


@dataclass(frozen=True, slots=True)
class _Made:
    """A plan of what was loaded, which stays right before second `until`."""

    loaded: Loaded
    backlog: Backlog
    plan: Plan
    until: int

    def is_of(self, loaded: Loaded) -> bool:
        """Return whether the planner would make the same plan of this."""
        former, present = self.loaded.snapshot, loaded.snapshot
        return (
            self.loaded.known is loaded.known
            and (present.now == former.now or former.now < present.now < self.until)
            and len(former.deployments) == len(present.deployments)
            and self.loaded.limits == loaded.limits
            and former.policy == present.policy
            and former.clusters == present.clusters
        )


_kept: Kept[_Made] = Kept(_MOST_PLANS)


def next_plan(loaded: Loaded) -> Plan:
    """Return the plan of the snapshot."""
    return plan_and_backlog(loaded)[0]


def plan_and_backlog(loaded: Loaded) -> tuple[Plan, Backlog]:
    """Return the plan of the snapshot, and its deployments as the planner has sorted them."""
    kept = _kept.get(loaded.organization)
    if kept and kept.is_of(loaded):
        return kept.plan, kept.backlog
    snapshot = loaded.snapshot
    backlog = (kept.backlog if kept else Backlog.of(())).follow(snapshot.deployments, loaded.step)
    plan = make_plan(snapshot, backlog)
    if loaded.is_lasting:
        until = valid_until(snapshot, plan, backlog)
        _kept.keep({loaded.organization: _Made(loaded, backlog, plan, until)})
    return plan, backlog
