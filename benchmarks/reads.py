"""How long lists, pages and dry runs take while many deployments wait in one organization.

The requests go through the whole application in this process, without a web server. What counts is
the CPU time of the application and of PostgreSQL together, which other work on the machine changes
little. PostgreSQL uses no parallel workers meanwhile, so that all of its time is that of one
process, which has to run on this machine. The wall time is what a caller waits on quiet cores.

Calls that depend on the next plan are measured twice: while nothing changes, and each right after
a change of a priority, which the process has to read and to plan with.
"""

import json
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from itertools import cycle
from statistics import fmean, median
from typing import Any

from django.conf import settings
from django.db import connection
from django.test import Client
from django.test.utils import override_settings
from rest_framework.test import APIClient

from accounts.models import User
from benchmarks import private
from benchmarks.history import History
from benchmarks.private import copies, cpu_seconds, found, using
from clusters.models import Node
from deployments.choices import Status
from deployments.models import Deployment
from orgs.feed.models import EventCounter
from orgs.models import Organization

NAME = "bench_reads"
GOAL_MS = 200
_HOST = "localhost"
_FILTERS = (
    "", "organization={organization}", "status=pending", "status=running", "status=completed",
    "status_code=submitted", "cluster={cluster}", "node={node}", "requested_cluster={cluster}",
    "restart_policy=never", "priority_min=97", "priority_max=2", "created_by=me",
    "created_by_departed=true", "created_by_departed=false", "name=past-77", "name=nowhere",
    "status=pending&priority_min=97", "status=pending&created_by=me", "status=pending&name=77",
    "label=team=vision", "label=run=77", "label=run", "status=pending&label=team=vision",
    "label=run=nowhere",
)  # fmt: skip
_ORDERS = (
    "id", "name", "priority", "status", "created_at", "queued_at", "started_at", "finished_at",
)  # fmt: skip
_DEEP = 50_000
_OTHERS = (
    "/deployments/{pending}", "/deployments/{running}", "/deployments/{running}/explain",
    "/deployments/{pending}/events", "/arrays", "/arrays?ordering=name&name=1",
    "/events?organization={organization}&after=0",
    "/events?organization={organization}&after={half}&kinds=failed",
    "/organizations", "/organizations/{organization}/usage", "/clusters",
    "/clusters?ordering=-name", "/clusters/{cluster}", "/clusters/{cluster}/nodes",
)  # fmt: skip
_PAGES = (
    "", "?span=7d", "?cluster={cluster}&span=24h", "deployments/deployment/",
    "deployments/deployment/?p=500", "deployments/deployment/?o=3",
    "deployments/deployment/?status__exact=pending",
    "deployments/deployment/?status__exact=running", "deployments/deployment/?q=past-77",
    "deployments/deployment/?departed=yes", "deployments/deployment/{running}/change/",
    "deployments/run/", "deployments/run/?outcome__exact=completed", "orgs/event/",
    "orgs/event/?kind=failed", "orgs/event/?q={pending}", "orgs/organization/",
    "orgs/organization/{organization}/change/", "clusters/cluster/", "scheduling/schedulingcycle/",
    "accounts/auditentry/",
)  # fmt: skip
_PLANNED = (
    "/deployments/{pending}/explain", "/admin/queue/", "/admin/queue/?page=1000",
    "/admin/queue/?size=200", "/admin/queue/?code=no_free_capacity", "/admin/queue/?priority=50",
    "/admin/queue/?cluster={cluster}", "/admin/queue/?q=past-77", "/admin/queue/?group=placed",
    "/admin/queue/?group=held", "/admin/cluster/{cluster}/",
    "/admin/deployments/deployment/{pending}/change/",
)  # fmt: skip
_SLOT = {"name": "probe", "image": "bench/none:1", "cpu": 1, "ram_mib": 8192, "gpu": 1}
"""The request of an active deployment."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request that changes nothing; `is_planned`: its response depends on the next plan."""

    name: str
    path: str
    method: str = "GET"
    body: Mapping[str, Any] | None = None
    is_planned: bool = False


@dataclass(frozen=True, slots=True)
class Read:
    """The milliseconds of a call: CPU of the application, of PostgreSQL, and until the response."""

    name: str
    application: float
    postgres: float
    wall: float

    @property
    def total(self) -> float:
        return self.application + self.postgres


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--waiting", type=int, default=100_000, help="default: %(default)s")
    parser.add_argument("--active", type=int, default=2_000, help="default: %(default)s")
    parser.add_argument("--ended", type=int, default=10_000, help="default: %(default)s")
    parser.add_argument("--clusters", type=int, default=100, help="default: %(default)s")
    parser.add_argument(
        "--shapes", type=int, default=0,
        help="the waiting ones are the elements of so many arrays; default: all are different",
    )  # fmt: skip
    parser.add_argument("--tries", type=int, default=5, help="default: %(default)s")
    parser.add_argument(
        "--planned", action="store_true", help="only the calls that depend on the next plan"
    )
    parser.add_argument(
        private.HERE,
        action="store_true",
        help="use the database server of the settings, on which a database is created and dropped;"
        " default: a private server",
    )


def command(options: Mapping[str, Any], out: Callable[[str], object]) -> None:
    if not options["here"]:
        private.repeat_on_private_servers(sys.argv[2:])
        return
    history = History(
        ended=options["ended"], pending=options["waiting"], active=options["active"],
        shapes=options["shapes"],
    )  # fmt: skip
    requests = f"{history.shapes} shapes" if history.shapes else "all requests different"
    out(
        f"{history.pending:,} waiting ({requests}), {history.active:,} active on"
        f" {options['clusters']} full clusters, {history.ended:,} ended"
    )
    out("milliseconds: CPU of both, CPU of PostgreSQL, median until the response")
    reads = []
    for read in measure(
        history, options["tries"], clusters=options["clusters"], planned_only=options["planned"]
    ):
        reads.append(read)
        out(f"{read.total:>6.0f}{read.postgres:>6.0f}{read.wall:>6.0f}  {read.name}")
    slow = [read for read in reads if read.total > GOAL_MS]
    out(f"{len(reads) - len(slow)} of {len(reads)} within {GOAL_MS} ms")


def measure(
    history: History, tries: int, *, clusters: int = private.CLUSTERS, planned_only: bool = False
) -> Iterator[Read]:
    """Yield the times of all reads on a database with this history."""
    no_bounds = override_settings(MAX_PENDING_PER_USER=0, MAX_PENDING_PER_ORGANIZATION=0)
    with copies(NAME), using(NAME), no_bounds:
        user, organization = found(history, number=clusters)
        yield from measure_here(user, organization, tries, planned_only=planned_only)


def measure_here(
    user: User, organization: Organization, tries: int, *, planned_only: bool = False
) -> Iterator[Read]:
    """Yield the times of all reads on the present database."""
    with connection.cursor() as cursor:
        cursor.execute("SET max_parallel_workers_per_gather = 0")
    clients = _Clients(user)
    names = _names(organization)
    for call in _calls(names):
        if not planned_only or call.is_planned:
            yield clients.measured(call, tries)
    if not planned_only:
        yield from (clients.measured(call, tries) for call in _deep(clients.api))
    changes = cycle((1, 2))
    for call in _calls(names):
        if call.is_planned:
            yield clients.measured(
                call, tries, lambda: clients.set_priority(names["changing"], next(changes))
            )


def _names(organization: Organization) -> dict[str, int]:
    node = Node.objects.earliest("pk")
    pending = organization.deployments.filter(status=Status.PENDING).order_by("-pk")
    newest, changing = pending.values_list("pk", flat=True)[:2]
    return {
        "organization": organization.pk,
        "cluster": node.cluster_id,
        "node": node.pk,
        "pending": newest,
        "changing": changing,
        "running": Deployment.objects.filter(status=Status.RUNNING).latest("pk").pk,
        "half": EventCounter.objects.get(organization=organization).last_number // 2,
    }


def _calls(names: Mapping[str, int]) -> Iterator[Call]:
    paths = (
        "/me",
        *(f"/deployments?{each}" for each in (*_FILTERS, *_orders(), "limit=500")),
        *_OTHERS,
        *(f"/admin/{each}" for each in _PAGES),
    )
    for path in paths:
        yield Call(path, path.format(**names))
    for path in _PLANNED:
        yield Call(path, path.format(**names), is_planned=True)
    submission = "/deployments?dry_run=true"
    for name, priority in (("waits", 1), ("preempts", 100)):
        body: dict[str, Any] = {**_SLOT, "priority": priority}
        yield Call(f"dry run of a submission that {name}", submission, "POST", body, True)
    change = f"/deployments/{names['pending']}?dry_run=true"
    for priority in (50, 100):
        body = {"priority": priority}
        yield Call(f"dry run of the priority {priority}", change, "PATCH", body, True)


def _orders() -> Iterator[str]:
    for order in (*_ORDERS, *(f"-{each}" for each in _ORDERS)):
        yield from (f"ordering={order}", f"status=pending&ordering={order}")


def _deep(api: Client) -> Iterator[Call]:
    """Yield the reads of pages far behind the first, by a cursor, in each order."""
    for order in _orders():
        path = _next(api, f"/deployments?{order}&offset={_DEEP}")
        yield Call(f"/deployments?{order} after {_DEEP:,}", path)


def _next(api: Client, path: str) -> str:
    """Return the path of the page after the one with this offset, or its own if it is the last."""
    following = api.get(path).json()["next"]
    return following.removeprefix(f"http://{_HOST}") if following else path


class _Clients:
    """Clients of the API and of the console."""

    def __init__(self, user: User) -> None:
        self.api, self._console = APIClient(SERVER_NAME=_HOST), Client(SERVER_NAME=_HOST)
        self.api.force_authenticate(user)
        self._console.force_login(user, settings.AUTHENTICATION_BACKENDS[-1])

    def measured(self, call: Call, tries: int, change: Callable[[], None] | None = None) -> Read:
        """Return the times of a call; with `change`, this is called before each try."""
        parts = []
        self._make(call)  # the first one only warms up
        for _ in range(tries):
            if change:
                change()
            before = *cpu_seconds(), time.perf_counter()
            self._make(call)
            after = *cpu_seconds(), time.perf_counter()
            parts.append([1000 * (b - a) for a, b in zip(before, after, strict=True)])
        application, postgres, wall = zip(*parts, strict=True)
        # PostgreSQL's time is only known to ten milliseconds.
        name = f"{call.name}, after a change" if change else call.name
        return Read(name, median(application), fmean(postgres), median(wall))

    def set_priority(self, deployment: int, priority: int) -> None:
        path = f"/deployments/{deployment}"
        self._make(Call("change", path, "PATCH", {"priority": priority}))

    def _make(self, call: Call) -> None:
        client = self._console if call.path.startswith("/admin/") else self.api
        body = json.dumps(call.body) if call.body else ""
        response = client.generic(call.method, call.path, body, content_type="application/json")
        if response.status_code != HTTPStatus.OK:
            raise RuntimeError(f"{call.method} {call.path} returned {response.status_code}")
