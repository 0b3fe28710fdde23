"""How long lists and pages take while many deployments wait in one organization.

The requests go through the whole application in this process, without a web server. What counts is
the CPU time of the application and of PostgreSQL together, which other work on the machine changes
little. PostgreSQL uses no parallel workers meanwhile, so that all of its time is that of one
process, which has to run on this machine.
"""

import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.db import connection
from django.test import Client
from rest_framework.test import APIClient

from accounts.models import User
from benchmarks import private
from benchmarks.history import History
from benchmarks.private import copies, cpu_seconds, found, using
from clusters.models import Node
from deployments.models import Deployment, Status

NAME = "bench_reads"
GOAL_MS = 200
_HOST = "localhost"
_FILTERS = (
    "", "organization={organization}", "status=pending", "status=running", "status=completed",
    "status_code=submitted", "cluster={cluster}", "node={node}", "requested_cluster={cluster}",
    "restart_policy=never", "priority_min=98", "priority_max=2", "created_by=me",
    "created_by_departed=true", "created_by_departed=false", "name=past-77", "name=nowhere",
    "status=pending&priority_min=98", "status=pending&created_by=me", "status=pending&name=77",
    "label=team=vision", "label=run=77", "label=run", "status=pending&label=team=vision",
    "label=run=nowhere",
)  # fmt: skip
_ORDERS = (
    "id", "name", "priority", "status", "created_at", "queued_at", "started_at", "finished_at",
)  # fmt: skip
_DEEP = 50_000
_OTHERS = (
    "/deployments/{pending}", "/deployments/{running}", "/deployments/{running}/explain",
    "/deployments/{pending}/events", "/organizations", "/clusters", "/clusters/{cluster}/nodes",
)  # fmt: skip
_PAGES = (
    "", "?span=7d", "?cluster={cluster}&span=24h", "deployments/deployment/",
    "deployments/deployment/?status__exact=pending",
    "deployments/deployment/?status__exact=running", "deployments/deployment/?q=past-77",
    "deployments/deployment/?departed=yes", "deployments/deployment/{running}/change/",
    "deployments/run/", "deployments/run/?outcome__exact=completed", "orgs/event/",
    "orgs/event/?kind=failed", "orgs/event/?q={pending}", "orgs/organization/",
    "orgs/organization/{organization}/change/", "clusters/cluster/", "scheduling/schedulingcycle/",
    "accounts/auditentry/",
)  # fmt: skip
_PLANNING = (
    "/deployments/{pending}/explain", "/admin/queue/", "/admin/cluster/{cluster}/",
    "/admin/deployments/deployment/{pending}/change/",
)  # fmt: skip
"""These plan the whole queue."""


@dataclass(frozen=True, slots=True)
class Read:
    """The CPU milliseconds of one request: of the application, and of PostgreSQL."""

    path: str
    application: float
    postgres: float

    @property
    def total(self) -> float:
        return self.application + self.postgres


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--pending", type=int, default=100_000, help="default: %(default)s")
    parser.add_argument("--active", type=int, default=2_000, help="default: %(default)s")
    parser.add_argument("--ended", type=int, default=10_000, help="default: %(default)s")
    parser.add_argument("--tries", type=int, default=5, help="default: %(default)s")
    parser.add_argument(
        "--planning", action="store_true", help="also pages and calls that plan the whole queue"
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
    history = History(*(options[name] for name in ("ended", "pending", "active")))
    out(f"{history.pending:,} pending, {history.active:,} active, {history.ended:,} ended")
    reads = measure(history, options["tries"], planning=options["planning"])
    out("CPU milliseconds: all, of PostgreSQL")
    for read in reads:
        out(f"{read.total:>6.0f}{read.postgres:>6.0f}  {read.path}")
    slow = [read for read in reads if read.total > GOAL_MS]
    out(f"{len(reads) - len(slow)} of {len(reads)} within {GOAL_MS} ms")


def measure(history: History, tries: int, *, planning: bool = False) -> list[Read]:
    """Return the times of all reads on a database with this history."""
    with copies(NAME), using(NAME):
        user, organization = found(history)
        with connection.cursor() as cursor:
            cursor.execute("SET max_parallel_workers_per_gather = 0")
        node = Node.objects.earliest("pk")
        names = {
            "organization": organization.pk,
            "cluster": node.cluster_id,
            "node": node.pk,
            "pending": _newest(Status.PENDING),
            "running": _newest(Status.RUNNING),
        }
        clients = _clients(user)
        paths = [path.format(**names) for path in _paths(planning=planning)]
        reads = [_read(clients, path, path, tries) for path in paths]
        return reads + list(_deep(clients, tries))


def _paths(*, planning: bool) -> Iterator[str]:
    yield "/me"
    yield from (f"/deployments?{each}" for each in (*_FILTERS, *_orders(), "limit=500"))
    yield from _OTHERS
    yield from (f"/admin/{each}" for each in _PAGES)
    if planning:
        yield from _PLANNING


def _orders() -> Iterator[str]:
    for order in (*_ORDERS, *(f"-{each}" for each in _ORDERS)):
        yield from (f"ordering={order}", f"status=pending&ordering={order}")


def _deep(clients: tuple[Client, Client], tries: int) -> Iterator[Read]:
    """Yield the reads of pages far behind the first, by a cursor, in each order."""
    for order in _orders():
        path = _next(clients[0], f"/deployments?{order}&offset={_DEEP}")
        yield _read(clients, f"/deployments?{order} after {_DEEP:,}", path, tries)


def _next(api: Client, path: str) -> str:
    """Return the path of the page after the one with this offset, or its own if it is the last."""
    following = api.get(path).json()["next"]
    return following.removeprefix(f"http://{_HOST}") if following else path


def _read(clients: tuple[Client, Client], name: str, path: str, tries: int) -> Read:
    api, console = clients
    client = console if path.startswith("/admin/") else api
    _get(client, path)  # the first one only warms up
    before = cpu_seconds()
    for _ in range(tries):
        _get(client, path)
    application, postgres = (
        1000 * (after - was) / tries for was, after in zip(before, cpu_seconds(), strict=True)
    )
    return Read(name, application, postgres)


def _get(client: Client, path: str) -> None:
    status = client.get(path).status_code
    if status != HTTPStatus.OK:
        raise RuntimeError(f"{path} returned {status}")


def _clients(user: User) -> tuple[Client, Client]:
    """Return clients of the API and of the console."""
    api, console = APIClient(SERVER_NAME=_HOST), Client(SERVER_NAME=_HOST)
    api.force_authenticate(user)
    console.force_login(user, settings.AUTHENTICATION_BACKENDS[-1])
    return api, console


def _newest(status: Status) -> int:
    return Deployment.objects.filter(status=status).latest("pk").pk
