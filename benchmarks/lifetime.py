"""How fast the service is after a long life, compared with a fresh one in the same run.

Two databases of one server, one with only what is active and one also with the past, are used in
turn, so that other work on the machine slows both alike. No web server and no worker runs: their
work is called directly. Each round is the whole life of some deployments: single submissions
through the API, one cycle that places them, and the passes that start and end their containers on
simulated engines.
"""

import sys
import time
from argparse import ArgumentParser
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from itertools import pairwise
from statistics import median
from typing import Any

from rest_framework.test import APIClient

from accounts.models import User
from benchmarks import private
from benchmarks.history import TABLES, History, churn
from benchmarks.private import copies, cpu_seconds, found, own_session, using
from clusters import engines
from clusters.models import Cluster
from deployments.choices import ENDED
from deployments.models import Deployment
from deployments.runtime.reconcile import reconcile
from orgs.models import Organization
from scheduling.cycle.run import run_cycle
from scheduling.models import SchedulingCycle

FRESH, AGED = "bench_fresh", "bench_aged"
_STEPS = ("submissions", "placements", "starts and ends")
_SPARE = 1000

Out = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Cost:
    """What one deployment took in a step, in seconds: as time passed, and of the CPU.

    The CPU time is that of the application and of PostgreSQL.
    """

    passed: float
    cpu: float


@dataclass(slots=True)
class Costs:
    """The costs of each step, by database, one of each round."""

    of_step: dict[str, dict[str, list[Cost]]]

    def lines(self, title: str) -> Iterator[str]:
        yield f"{title:<28}{'fresh':>10}{'aged':>10}{'ratio':>8}{'by CPU':>8}"
        for step, costs in self.of_step.items():
            fresh, aged = (median(cost.passed for cost in costs[name]) for name in (FRESH, AGED))
            cpu = [sum(cost.cpu for cost in costs[name]) for name in (FRESH, AGED)]
            rates = f"{1 / fresh:>8.0f}/s{1 / aged:>8.0f}/s"
            yield f"{step:<28}{rates}{fresh / aged:>8.2f}{cpu[0] / cpu[1]:>8.2f}"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--ended", type=int, default=1_000_000, help="default: %(default)s")
    parser.add_argument("--active", type=int, default=1_000, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=20, help="default: %(default)s")
    parser.add_argument("--size", type=int, default=50, help="of a round; default: %(default)s")
    parser.add_argument(
        "--churn",
        type=int,
        default=60_000,
        help="how many deployments live and end, by their statements alone, while a transaction"
        " stays open: 100 a second in ten minutes; default: %(default)s",
    )
    parser.add_argument(
        private.HERE,
        action="store_true",
        help="use the database server of the settings, on which two databases are created and"
        " dropped; default: a private server",
    )


def command(options: Mapping[str, Any], out: Out) -> None:
    if not options["here"]:
        private.repeat_on_private_servers(sys.argv[2:])
        return
    measure(
        History(ended=options["ended"], active=options["active"]),
        rounds=options["rounds"],
        size=options["size"],
        churned=options["churn"],
        out=out,
    )


def measure(history: History, *, rounds: int, size: int, churned: int, out: Out) -> None:
    """Measure all, and write the lines of the report."""
    out(f"{history.ended:,} ended, {history.active:,} active, {rounds} rounds of {size}")
    with copies(FRESH, AGED):
        began = time.monotonic()
        for name, past in ((FRESH, History(active=history.active)), (AGED, history)):
            with using(name):
                found(past, spare=_SPARE)
        out(f"filled in {time.monotonic() - began:.0f} s")
        with using(FRESH):
            before = _sizes()
        _write(out, _alternating(rounds, size).lines("after a long life"))
        with using(FRESH):
            _write(out, _growth(before, (rounds + 1) * size))
        with _open_transaction():
            with using(AGED), own_session() as session:
                organization, user = Organization.objects.get(), User.objects.get()
                churn(session, churned, organization=organization.pk, user=user.pk)
            _write(out, _alternating(rounds, size).lines(f"open, {churned:,} ended"))


def _write(out: Out, lines: Iterable[str]) -> None:
    for line in lines:
        out(line)


def _alternating(rounds: int, size: int) -> Costs:
    costs = Costs({step: defaultdict(list) for step in _STEPS})
    for number in range(rounds + 1):
        for name in (FRESH, AGED):
            with using(name):
                took = _round(size)
            if number:  # the first one only warms up
                for step, cost in zip(_STEPS, took, strict=True):
                    costs.of_step[step][name].append(cost)
    return costs


def _round(size: int) -> list[Cost]:
    """Let deployments live and end; return the costs of each step."""
    client, organization = _client(), Organization.objects.get()
    run_cycle(organization.pk, SchedulingCycle.Trigger.CHANGE)  # reads the working copy
    clocks = [_clocks()]
    for number in range(size):
        _submit(client, "/deployments", _spec(number))
    clocks.append(_clocks())
    run_cycle(organization.pk, SchedulingCycle.Trigger.CHANGE)
    clocks.append(_clocks())
    _reconcile(organization)
    clocks.append(_clocks())
    _check(size)
    return [
        Cost(*((then - now) / size for now, then in zip(before, after, strict=True)))
        for before, after in pairwise(clocks)
    ]


def _clocks() -> tuple[float, float]:
    return time.perf_counter(), sum(cpu_seconds())


def _client() -> APIClient:
    client = APIClient(SERVER_NAME="localhost")
    client.force_authenticate(User.objects.get())
    return client


def _spec(number: int) -> dict[str, Any]:
    return {
        "name": f"life-{number}", "image": "bench/none:1", "cpu": 1, "ram_mib": 1024, "gpu": 1,
        "command": ["python", "train.py", "--epochs", "20"],
        "env": {"SIMULATE_RUN_SECONDS": "0"},
    }  # fmt: skip


def _submit(client: APIClient, path: str, body: dict[str, Any]) -> None:
    response = client.post(path, body, format="json")
    if response.status_code != HTTPStatus.CREATED:
        raise RuntimeError(response.content.decode())


def _reconcile(organization: Organization) -> None:
    for cluster in Cluster.objects.filter(organization=organization):
        for engine in engines.of_cluster(cluster):
            reconcile(engine)


def _check(size: int) -> None:
    newest = Deployment.objects.order_by("-pk").values_list("status", flat=True)[:size]
    if unfinished := [status for status in newest if status not in ENDED]:
        raise RuntimeError(f"{len(unfinished)} deployments of a round have not ended.")


@contextmanager
def _open_transaction() -> Iterator[None]:
    """Keep a transaction open that sees the aged database as it is now."""
    with using(AGED), own_session() as session:
        session.execute("SET idle_in_transaction_session_timeout = 0")
        session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        session.execute("SELECT count(*) FROM orgs_organization")
        yield
        session.execute("ROLLBACK")


def _sizes() -> dict[str, int]:
    """Return the bytes of each table of the history with its indexes, without unused space."""
    with own_session() as session:
        session.execute(f"VACUUM FULL {', '.join(TABLES)}".encode())
        sizes = "SELECT name, pg_total_relation_size(name) FROM unnest(%s::text[]) name"
        rows: Any = session.execute(sizes, [list(TABLES)]).fetchall()
        return dict(rows)


def _growth(before: Mapping[str, int], deployments: int) -> Iterator[str]:
    """Yield how much each table has grown since `before`, for 10,000 ended deployments."""
    yield f"{'growth per 10,000 ended':<34}MiB"
    for table, size in _sizes().items():
        grown = (size - before[table]) / deployments * 10_000 / 2**20
        yield f"{table:<30}{grown:>7.1f}"
