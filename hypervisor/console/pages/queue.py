"""The page of the queue: pending and placed deployments, wait reasons, and actions on them."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.core.paginator import Paginator
from django.http import HttpRequest, QueryDict
from django.utils import timezone

from clusters.models import Cluster
from clusters.places import Places
from deployments.runtime.models import Run
from hypervisor.base.numbers import whole
from hypervisor.console.pages.base import TopLevelPage
from hypervisor.ui.data.queue import EMPTY, TITLES
from orgs.models import Organization
from scheduling.insight.operator_actions import ACTIONS, Action
from scheduling.insight.organization_queue import NEXT, Filters, Group, Sort
from scheduling.insight.queue import Queue
from scheduling.models import SchedulingCycle
from scheduling.monitoring.health import cycle_is_late

_FILTERS = ("organization", "cluster", "priority", "code", "q", "waiting")
_SIZES = ("50", "200")
"""Lines of a page; the ids of all of them fit into the URL of a preview."""
_RECENT = timedelta(hours=1)
_RECENT_SHOWN = 5
_LONG, _REFRESH_LONG_S = 2000, 15
"""A queue of more deployments is refreshed less often, because each refresh plans it."""

_OFFERED = {
    Group.COMPETING: ("hold", "reprioritize", "move", "cancel"),
    Group.HELD: ("release", "reprioritize", "move", "cancel"),
    Group.BACKOFF: ("hold", "reprioritize", "move", "cancel"),
    Group.DEPENDENCY: ("hold", "reprioritize", "move", "cancel"),
    Group.ARRAY: ("hold", "reprioritize", "cancel"),
    Group.PLACED: ("preempt", "requeue", "move", "reprioritize", "stop"),
}


@dataclass(frozen=True, slots=True)
class SortLink:
    """The link in a column's head; `direction` is how the column is sorted now, for `aria-sort`."""

    href: str
    direction: str
    hint: str


@dataclass(frozen=True, slots=True)
class Tab:
    group: Group
    title: str
    count: int
    href: str
    current: bool


class QueuePage(TopLevelPage):
    title = "Queue"
    permission_required = "deployments.view_deployment"
    template_name = "console/queue.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        query = self.request.GET
        group = next((g for g in Group if g == query.get("group")), Group.COMPETING)
        filters = read_filters(query)
        queue = Queue(filters, timezone.now())
        counts = {each: queue.count(each) for each in Group}
        sort = next((each for each in Sort if each == query.get("sort")), Sort.SERVED)
        if queue.length > _LONG:
            self.refresh_s = _REFRESH_LONG_S
        size = query["size"] if query.get("size") in _SIZES else _SIZES[0]
        page = Paginator(range(counts[group]), int(size)).get_page(query.get("page"))
        first, last = page.start_index() - 1, page.end_index()
        entries = queue.entries(group, first, last, sort) if page else []
        return super().get_context_data(
            group=group,
            filters=filters,
            filtered=any(query.get(name) for name in _FILTERS),
            narrowed=any(query.get(name) for name in _FILTERS[1:]),
            tabs=[_tab(each, counts[each], query, group) for each in Group],
            page=page,
            entries=entries,
            places=Places.of_rows(entry.deployment for entry in entries),
            page_link=_link(query, page=None),
            sort=sort,
            sort_wait=_sort_link(query, sort, Sort.LONGEST, Sort.SHORTEST, "the longest wait"),
            sort_priority=_sort_link(
                query, sort, Sort.HIGHEST, Sort.LOWEST, "the highest priority"
            ),
            sizes=[(each, _link(query, page=None, size=each), each == size) for each in _SIZES],
            codes=sorted(queue.codes.items()),
            starting=queue.codes[NEXT],
            actions=offered(self.request, group),
            **_last_cycle(filters, queue),
            caption=TITLES[group],
            empty=EMPTY[group],
            longest=self._longest(queue),
            preemptions=recent_preemptions(filters),
            organizations=Organization.objects.order_by("name"),
            clusters=_clusters(filters),
            here=self.request.get_full_path(),
            **kwargs,
        )

    def _longest(self, queue: Queue) -> float | None:
        """Return the longest wait among the competing deployments, in seconds."""
        first = queue.first_queued_at
        return None if first is None else timezone.now().timestamp() - first


def offered(request: HttpRequest, group: Group) -> list[Action]:
    """Return the actions that apply to the group and that the operator may take."""
    actions = [ACTIONS[name] for name in _OFFERED[group]]
    return [action for action in actions if request.user.has_perm(action.permission)]


def read_filters(query: QueryDict) -> Filters:
    """Return the filters in a query string; invalid values do not filter."""
    cluster = _number(query, "cluster")
    return Filters(
        organization=_number(query, "organization"),
        cluster=Cluster.objects.filter(pk=cluster).first() if cluster else None,
        priority=_number(query, "priority"),
        code=query.get("code", ""),
        search=query.get("q", "").replace("\0", "").strip(),
        starved=query.get("waiting") == "long",
    )


def _number(query: QueryDict, name: str) -> int | None:
    return whole(query.get(name, ""))


def recent_preemptions(filters: Filters) -> list[Run]:
    """Return the last hour's latest preempted runs, the newest first."""
    since = timezone.now() - _RECENT
    runs = Run.objects.filter(released_at__gt=since, outcome__in=("evicted", "moved"))
    runs = runs.filter(preempted_by__isnull=False)
    if filters.organization is not None:
        runs = runs.filter(deployment__organization=filters.organization)
    related = runs.select_related("deployment", "cluster", "preempted_by")
    return list(related.order_by("-released_at", "-pk")[:_RECENT_SHOWN])


def _last_cycle(filters: Filters, queue: Queue) -> dict[str, Any]:
    """Return the newest cycle, its counts, and whether one is overdue while deployments compete."""
    cycles = SchedulingCycle.objects.defer("record").order_by("-pk")
    if filters.organization is not None:
        cycles = cycles.filter(organization=filters.organization)
    cycle = cycles.first()
    if cycle is None:
        return {"cycle": None}
    late = queue.length > 0 and cycle_is_late(timezone.now(), cycle)
    did = f"{cycle.placed} placed, {cycle.evicted} evicted, {cycle.moved} moved"
    return {"cycle": cycle, "cycle_did": did, "cycle_late": late}


def _clusters(filters: Filters) -> list[Cluster]:
    rows = Cluster.objects.select_related("organization").order_by("organization__name", "name")
    if filters.organization is not None:
        rows = rows.filter(organization=filters.organization)
    return list(rows[:500])


def _sort_link(query: QueryDict, now: Sort, first: Sort, second: Sort, what: str) -> SortLink:
    """Return the link to the first way of sorting, or if the page is sorted so, to the second."""
    if now == first:
        return SortLink(
            _link(query, sort=second.value, page=None), "descending", f"Not {what} first"
        )
    direction = "ascending" if now == second else "none"
    return SortLink(
        _link(query, sort=first.value, page=None), direction, f"{what} first".capitalize()
    )


def _tab(group: Group, count: int, query: QueryDict, current: Group) -> Tab:
    link = _link(query, group=group.value, page=None, code=None)
    return Tab(group, TITLES[group], count, link, group == current)


def _link(query: QueryDict, **changed: str | None) -> str:
    """Return the page's address with some of its query changed, None removed."""
    merged = {**query.dict(), **changed}
    return "?" + urlencode({name: value for name, value in merged.items() if value is not None})
