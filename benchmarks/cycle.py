"""A cycle that places many deployments, compared with raw SQL that writes the same rows.

After the cycle, the rows that it has written are copied. The tables are then set back, and one
connection writes the copies in four statements and commits: the least that any scheduler has to do
to keep this ledger, with the same indexes, triggers and foreign keys, but without a snapshot, a
plan, a lock or a single value that comes from outside the database. Both are repeated in turns.

It also measures a cycle in which nothing can be placed, with its wait reasons new and unchanged.
"""

import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from random import Random
from statistics import median
from typing import Any, TypeVar

import psutil
from django.core.management.base import CommandError
from django.db import connection, transaction

from accounts.models import User
from benchmarks.own_servers import manage, own_servers
from clusters import services as cluster_services
from clusters.capacity import Capacity
from deployments.bulk import Entry, submit_many
from deployments.specs import Spec
from orgs import services as organizations
from orgs.models import Organization
from scheduling.cycle.explaining import write_rest
from scheduling.cycle.run import run_cycle
from scheduling.models import SchedulingCycle

T = TypeVar("T")

_BULK = 1000
_TABLES = (
    "deployments_deployment", "deployments_run", "orgs_event", "scheduling_schedulingcycle",
)  # fmt: skip
_EMPTIED = (*_TABLES, "orgs_unnumberedevent")
"""The tables that are emptied in between: the last one has a row for each new event."""

_WRITTEN = (
    "status", "status_reason", "status_code", "revision", "cluster_id", "node_id", "placed_at",
    "started_at", "checkpoint_at", "ready_after",
)  # fmt: skip
"""The columns of a deployment that a placement writes."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds: elapsed, of CPU in this process, and of CPU in its process of PostgreSQL."""

    elapsed: float
    here: float
    database: float

    @property
    def cpu(self) -> float:
        return self.here + self.database


@dataclass(frozen=True, slots=True)
class Phases:
    """Milliseconds of a cycle; `record` includes the commits and the wait reasons."""

    load: float
    plan: float
    apply: float
    record: float

    def __str__(self) -> str:
        return ", ".join(f"{f.name} {getattr(self, f.name):.0f}" for f in fields(self))


@dataclass(frozen=True, slots=True)
class Sample:
    placed: int
    left_pending: int
    cost: Cost
    phases: Phases


@dataclass(frozen=True, slots=True)
class Comparison:
    """The cycles that placed, and the same rows in raw SQL, in turns."""

    cycles: list[Sample]
    raw: list[Cost]
    statements: list[float]
    """Seconds of the statements in raw SQL, without their commit."""

    def __str__(self) -> str:
        whole = _ratio([s.cost.elapsed for s in self.cycles], [c.elapsed for c in self.raw])
        cpu = _ratio([s.cost.cpu for s in self.cycles], [c.cpu for c in self.raw])
        written = _ratio([s.phases.apply / 1000 for s in self.cycles], self.statements)
        return "\n".join(
            (
                f"a cycle that places {self.cycles[0].placed:,}: {_costs(_cost(self.cycles))}",
                f"  ms: {_phases(self.cycles)}",
                f"the same rows in raw SQL: {_costs(self.raw)}",
                f"ratio: {whole:.2f} of the time, {cpu:.2f} of the CPU",
                f"apply alone, both without the commit: {written:.2f} of the time",
            )
        )


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--count", type=int, default=10_000, help="default: %(default)s")
    parser.add_argument("--waiting", type=int, default=20_000, help="default: %(default)s")
    parser.add_argument("--clusters", type=int, default=50, help="default: %(default)s")
    parser.add_argument(
        "--shapes", type=int, default=0, help="different requests; default: each is different"
    )
    parser.add_argument("--tries", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    parser.add_argument(
        "--here",
        action="store_true",
        help="measure in the database of the settings, which has to be empty",
    )


def command(options: Mapping[str, Any], out: Callable[[str], object]) -> None:
    sizes = {
        name: options[name] for name in ("count", "waiting", "clusters", "shapes", "tries", "seed")
    }
    if not options["here"]:
        with own_servers() as environment:
            words = [word for name, size in sizes.items() for word in (f"--{name}", str(size))]
            manage(environment, "bench", "cycle", "--here", *words)
        return
    if Organization.objects.exists():
        raise CommandError("The database of the settings is not empty.")
    shapes = options["shapes"] or "as many"
    out(f"{options['clusters']} clusters, {shapes} different requests, medians of"
        f" {options['tries']}")  # fmt: skip
    world = World.create(options["clusters"], options["shapes"], options["seed"])
    out(str(compare(world, options["count"], options["tries"])))
    for name, samples in waiting(world, options["waiting"], options["tries"]).items():
        out(f"a cycle that places nothing, {samples[0].left_pending:,} waiting, {name}:"
            f" {_costs(_cost(samples))}\n  ms: {_phases(samples)}")  # fmt: skip


@dataclass(slots=True)
class World:
    """An organization whose clusters can hold everything that is submitted."""

    owner: User
    organization: Organization
    clusters: int
    shapes: int
    choose: Random

    @classmethod
    def create(cls, clusters: int, shapes: int, seed: int) -> "World":
        owner = User.objects.create_user("bench")
        organization = organizations.create(owner=owner, name="Bench cycle")
        world = cls(owner, organization, clusters, shapes, Random(seed))  # noqa: S311 - no secret
        for number in range(clusters):
            cluster_services.create(
                actor="bench", organization=organization, name=f"cluster-{number}",
                capacity=Capacity(10**7, 10**8, 10**4),
            )  # fmt: skip
        return world

    def submit(self, count: int, **fields: Any) -> None:
        specs = [self._spec(number, fields) for number in range(count)]
        for start in range(0, count, _BULK):
            entries = [Entry(self.organization, spec) for spec in specs[start : start + _BULK]]
            submit_many(created_by=self.owner, entries=entries, bounded=False)

    def _spec(self, number: int, fields: Mapping[str, Any]) -> Spec:
        shape = number % self.shapes if self.shapes else number
        values = {
            "cpu_milli": 500 + shape % 997, "ram_mib": 512 + shape % 1009, "gpu": shape % 3,
            "priority": self.choose.randint(1, 90), **fields,
        }  # fmt: skip
        return Spec(name=f"job-{number}", image="bench/none:1", **values)


def compare(world: World, count: int, tries: int) -> Comparison:
    """Place `count` deployments in one cycle, and write the same rows in raw SQL, in turns."""
    world.submit(count)
    cycles: list[Sample] = []
    raw: list[Cost] = []
    statements: list[float] = []
    with _copy("pending"):
        for number in range(tries + 1):
            _set_back("pending")
            sample = _cycle(world.organization)
            if sample.placed != count:
                raise CommandError(f"Only {sample.placed} of {count} were placed.")
            with _copy("placed"):
                _set_back("pending")
                cost, written = _measure(_write_raw)
            if number:  # the first one fills the caches
                cycles.append(sample)
                raw.append(cost)
                statements.append(written)
    return Comparison(cycles, raw, statements)


def waiting(world: World, count: int, tries: int) -> dict[str, list[Sample]]:
    """Run cycles with `count` deployments that fit nowhere, because the clusters are full."""
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {', '.join(_EMPTIED)} CASCADE")
    whole = Capacity(10**7, 10**8, 10**4)
    world.submit(
        world.clusters, cpu_milli=whole.cpu_milli, ram_mib=whole.ram_mib, gpu=whole.gpu,
        priority=100,
    )  # fmt: skip
    _cycle(world.organization)
    world.submit(count)
    with _copy("waiting"):
        found: dict[str, list[Sample]] = {"all reasons new": [], "all reasons unchanged": []}
        for _ in range(tries):
            _set_back("waiting")
            for samples in found.values():
                samples.append(_cycle(world.organization, explained=True))
    return found


def _cycle(organization: Organization, *, explained: bool = False) -> Sample:
    """Run a cycle, and what it leaves to the background if that is wanted."""

    def work() -> SchedulingCycle | None:
        cycle = run_cycle(organization.pk, SchedulingCycle.Trigger.CHANGE)
        if explained:
            write_rest(organization.pk)
        return cycle

    cost, cycle = _measure(work)
    if cycle is None:
        raise CommandError("Something else uses the database.")
    load, plan, apply = (us / 1000 for us in (cycle.snapshot_us, cycle.plan_us, cycle.apply_us))
    rest = 1000 * cost.elapsed - load - plan - apply
    return Sample(cycle.placed, cycle.left_pending, cost, Phases(load, plan, apply, rest))


def _measure(work: Callable[[], T]) -> tuple[Cost, T]:
    server = _server()
    there, here, began = _cpu(server), time.process_time(), time.perf_counter()
    result = work()
    elapsed = time.perf_counter() - began
    return Cost(elapsed, time.process_time() - here, _cpu(server) - there), result


def _server() -> psutil.Process | None:
    """Return the process of PostgreSQL that serves this connection, None if it is elsewhere."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        return process if process.name() == "postgres" else None
    return None


def _cpu(process: psutil.Process | None) -> float:
    if process is None:
        return 0
    times = process.cpu_times()
    return float(times.user + times.system)


# --- The tables -----------------------------------------------------------------------------------


@contextmanager
def _copy(name: str) -> Iterator[None]:
    """Keep the present rows in tables `bench_{name}_…` until the end of this block."""
    with connection.cursor() as cursor:
        for table in _TABLES:
            kept = f"bench_{name}_{table}"
            cursor.execute(f"CREATE TABLE {kept} AS SELECT * FROM {table} ORDER BY id")  # noqa: S608
            cursor.execute(f"ANALYZE {kept}")
        yield
        for table in _TABLES:
            cursor.execute(f"DROP TABLE bench_{name}_{table}")


def _set_back(name: str) -> None:
    """Make the tables what they were when they were copied, without traces of what came between."""
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(f"TRUNCATE {', '.join(_EMPTIED)} CASCADE")
        for table in _TABLES:
            cursor.execute(f"INSERT INTO {table} SELECT * FROM bench_{name}_{table} ORDER BY id")  # noqa: S608
        cursor.execute("RESET session_replication_role")
        cursor.execute("VACUUM (ANALYZE)")
        cursor.execute("CHECKPOINT")


def _write_raw() -> float:
    """Write the rows of the tables `bench_placed_…` that are not there, and commit.

    Returns the seconds of the statements.
    """
    began = time.perf_counter()
    columns = ", ".join(f"{column} = p.{column}" for column in _WRITTEN)
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE deployments_deployment d SET {columns}"  # noqa: S608
            " FROM bench_placed_deployments_deployment p WHERE p.id = d.id"
        )
        for table in _TABLES[1:]:
            cursor.execute(
                f"INSERT INTO {table} SELECT * FROM bench_placed_{table} p"  # noqa: S608
                f" WHERE NOT EXISTS (SELECT FROM bench_pending_{table} o WHERE o.id = p.id)"
                " ORDER BY id"
            )
        return time.perf_counter() - began


# --- The report -----------------------------------------------------------------------------------


def _cost(samples: list[Sample]) -> list[Cost]:
    return [sample.cost for sample in samples]


def _costs(costs: list[Cost]) -> str:
    elapsed = median(cost.elapsed for cost in costs)
    here, there = (median(getattr(c, name) for c in costs) for name in ("here", "database"))
    return f"{elapsed:.2f} s, CPU {here:.2f} s and {there:.2f} s in PostgreSQL"


def _phases(samples: list[Sample]) -> str:
    names = [field.name for field in fields(Phases)]
    return str(Phases(*(median(getattr(s.phases, name) for s in samples) for name in names)))


def _ratio(ours: list[float], theirs: list[float]) -> float:
    return median(ours) / median(theirs)
