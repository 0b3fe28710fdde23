"""When waiting deployments will probably start, for everybody who shows it.

Most requests ask for no forecast, so it is made when it is first read, and kept for a while with
the plan that it continues.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from itertools import islice
from time import monotonic
from typing import Any

from clusters.places import Places
from deployments.models import Deployment
from deployments.run_times import latest_run_times
from scheduling.cycle.kept import Kept
from scheduling.cycle.snapshot import Loaded
from scheduling.insight import wording
from scheduling.planner.forecast import MOST, Forecasts, RunTime, Unknown
from scheduling.planner.plan import Plan
from scheduling.planner.run_times import LATEST, PastRunTimes, at_most
from scheduling.planner.shortlist import Backlog
from scheduling.planner.snapshot import Deployment as Row
from scheduling.planner.snapshot import Place

EXPECTED = "expected"
"""The code of a forecast with a time."""

CODES = (EXPECTED, *map(str, Unknown))

_FRESH_S = 60
"""How long a forecast is kept while the plan stays right: a run may outlive what was expected."""

_HISTORY_S = 300.0
"""How long the run times of users are kept in a process."""

_MOST_ORGANIZATIONS = 16


@dataclass(frozen=True, slots=True)
class Start:
    """When a waiting deployment will probably start: `expected`, and where.

    `needs` are those that have to end before, by id. Without a time, `code` says why.
    """

    code: str
    expected: datetime | None = None
    place: Place | None = None
    needs: tuple[int, ...] = ()

    @property
    def about(self) -> str:
        """Return how long until it starts, and when that is; empty if it is not known."""
        return wording.about(self.expected) if self.expected else ""

    @property
    def clock(self) -> str:
        """Return about when it starts; empty if that is not known."""
        return wording.clock(self.expected) if self.expected else ""


@dataclass(frozen=True, slots=True)
class Stated:
    """A forecast with names, for one deployment: `reason` is a sentence for people.

    `by` is when it starts if each deployment runs for its whole `max_runtime_s`; None if one that
    has to end before has none.
    """

    code: str
    reason: str
    expected: datetime | None
    by: datetime | None
    cluster: int | None
    node: int | None
    waits_for: list[dict[str, Any]]


class Starts:
    """When the waiting deployments of an organization's next plan will probably start."""

    def __init__(self, loaded: Loaded, plan: Plan, backlog: Backlog) -> None:
        self._loaded, self._plan, self._backlog = loaded, plan, backlog
        self._starting = {p.deployment: (p.cluster, p.node) for p in plan.placements}

    def of(self, deployment: int, position: int | None) -> Start | None:
        """Return the forecast of the deployment at this position of the queue, counted from 1.

        None if it does not compete.
        """
        if position is None:
            return None
        if deployment in self._starting:
            return Start(EXPECTED, self._loaded.now, self._starting[deployment])
        if position > MOST + len(self._starting):
            return Start(Unknown.AHEAD)
        expected = self._made.expected.of(deployment)
        if expected.unknown is not None:
            return Start(expected.unknown, place=expected.place, needs=expected.needs)
        return Start(EXPECTED, _time(expected.starts_at), expected.place, expected.needs)

    def _by(self, deployment: int, expected: datetime | None) -> datetime | None:
        """Return when it starts by the limits, if it is expected to start at a time."""
        if expected is None or deployment in self._starting:
            return expected
        latest = _time(self._made.by.of(deployment).starts_at) if self._has_limits else None
        return latest and max(latest, expected)

    def stated(self, deployment: int, position: int | None) -> Stated | None:
        """Return the same with names."""
        start = self.of(deployment, position)
        if start is None:
            return None
        by = self._by(deployment, start.expected)
        cluster, node = start.place or (None, None)
        shown = start.needs[: wording.NAMED]
        rows = Deployment.objects.filter(organization=self._loaded.organization, pk__in=shown)
        names = dict(rows.values_list("pk", "name"))
        needs = [f"{names[pk]} ({pk})" if pk in names else str(pk) for pk in start.needs]
        place = Places.named([(cluster, node)]).name(cluster, node) if cluster else ""
        return Stated(
            start.code,
            _sentence(start, by, place, needs),
            start.expected,
            by,
            cluster if start.expected else None,
            node if start.expected else None,
            [{"deployment": pk, "name": names.get(pk, "")} for pk in shown],
        )

    @cached_property
    def _made(self) -> "_Made":
        kept = _kept.get(self.organization)
        if kept and kept.plan is self._plan and monotonic() - kept.made_at < _FRESH_S:
            return kept
        made = self._make()
        if self._loaded.is_lasting:
            _kept.keep({self.organization: made})
        return made

    def _make(self) -> "_Made":
        loaded, plan, active = self._loaded, self._plan, self._active
        known, usual = loaded.known, self._usual()

        def forecasts(run_time: RunTime) -> Forecasts:
            return Forecasts(
                loaded.snapshot, plan, active, lambda pk: known[pk].deployment, run_time
            )

        return _Made(plan, monotonic(), forecasts(usual), partial(forecasts, _by_limit))

    @property
    def _has_limits(self) -> bool:
        return any(d.max_runtime_s is not None for d in self._active)

    @property
    def organization(self) -> int:
        return self._loaded.organization

    @cached_property
    def users(self) -> Set[int]:
        """The users on whose past the forecasts depend."""
        known = self._loaded.known
        first = islice(self._plan.served, MOST + len(self._starting))
        users = {known[pk].created_by for pk in (*(d.id for d in self._active), *first)}
        return {pk for pk in users if pk is not None}

    @cached_property
    def _active(self) -> Sequence[Row]:
        return [d for d in self._backlog.others.values() if d.cluster is not None]

    def _usual(self) -> RunTime:
        """Return what says how long deployments are expected to run, by their users' past."""
        known, nothing = self._loaded.known, PastRunTimes()
        past = _past_run_times({self.organization: self.users})[self.organization]

        def run_time(d: Row, elapsed: int) -> int | None:
            return past.get(known[d.id].created_by or 0, nothing).expected(d.max_runtime_s, elapsed)

        return run_time


class _Made:
    """The forecasts of a plan by usual run times, and by limits, which fewer readers need."""

    def __init__(
        self, plan: Plan, made_at: float, expected: Forecasts, by: Callable[[], Forecasts]
    ) -> None:
        self.plan, self.made_at, self.expected = plan, made_at, expected
        self._make_by = by

    @cached_property
    def by(self) -> Forecasts:
        return self._make_by()


@dataclass(frozen=True, slots=True)
class _History:
    read_at: float
    past: Mapping[int, PastRunTimes]


_kept: Kept[_Made] = Kept(_MOST_ORGANIZATIONS)
_histories: Kept[_History] = Kept(_MOST_ORGANIZATIONS)


def read_past(starts: Iterable[Starts]) -> None:
    """Read at once what the forecasts of several organizations depend on."""
    _past_run_times({each.organization: each.users for each in starts})


def _past_run_times(users: Mapping[int, Set[int]]) -> dict[int, Mapping[int, PastRunTimes]]:
    """Return the past of these users by organization; what is kept is not read again."""
    oldest, found, missing = monotonic() - _HISTORY_S, {}, {}
    for organization, ids in users.items():
        kept = _histories.get(organization)
        if kept and kept.read_at > oldest and kept.past.keys() >= ids:
            found[organization] = kept.past
        elif ids:
            missing[organization] = ids
        else:
            found[organization] = {}
    latest = latest_run_times(missing, LATEST) if missing else {}
    for organization, ids in missing.items():
        past = {pk: PastRunTimes(latest.get((organization, pk), ())) for pk in ids}
        _histories.keep({organization: _History(monotonic(), past)})
        found[organization] = past
    return found


def _by_limit(d: Row, elapsed: int) -> int | None:
    return at_most(d.max_runtime_s, elapsed)


def _time(moment: int | None) -> datetime | None:
    return None if moment is None else datetime.fromtimestamp(moment, UTC)


def _sentence(start: Start, by: datetime | None, place: str, needs: list[str]) -> str:
    if start.expected is not None:
        return wording.forecast(start.expected, by, place, needs)
    return wording.no_forecast(start.code, place, needs)


def forget_all() -> None:
    """Make every forecast again when it is next needed."""
    _kept.clear()
    _histories.clear()
