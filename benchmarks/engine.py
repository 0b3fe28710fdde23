"""Latencies of starts and preemptions on real Docker Engines, and the benches chaos and churn.

Latencies are differences between the time of the placement's event and the time at which the engine
reports the container's start. Without `--docker`, the bench starts private engines (Debian's
docker.io, as root), one for each node of the cluster.
"""

import random
import secrets
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import docker
from django.core.management.base import CommandError
from docker.client import DockerClient

from benchmarks.client import Client
from benchmarks.service import Service, add_scale, wait_until
from clusters.drivers.docker.times import parse
from deployments import images

GRACE_S = 2
CAPACITY = {"cpu": 2, "ram_mib": 4096, "gpu": 4}
"""Of each node: as small as a small machine, because an engine rejects containers that are larger
than it is."""

DEVICES = tuple(f"bench-gpu-{n}" for n in range(CAPACITY["gpu"]))
_LABEL = "mlops-hypervisor.run"
_STUBBORN = ["sh", "-c", "trap '' TERM; echo ready; exec sleep 600"]


class Bench:
    """A separate service with one cluster, of which each node is one of the engines."""

    def __init__(self, service: Service, sockets: Sequence[str], image: str) -> None:
        self.service, self.image = service, image
        self.engines: list[DockerClient] = [docker.DockerClient(s, timeout=30) for s in sockets]
        self.client = Client.newcomer(service.url, f"bench-{secrets.token_hex(4)}", patience_s=60)
        self.client.post("/organizations", name="Bench engine")
        names = [f"node-{number}" for number, _ in enumerate(sockets, 1)]
        nodes = [{"name": name, **CAPACITY} for name in names]
        self.cluster = self.client.post("/clusters", name="engine", nodes=nodes)["id"]
        for name, socket in zip(names, sockets, strict=True):
            self._connect(name, socket)

    def deploy(self, command: list[str], **fields: Any) -> int:
        whole = {"name": "probe", "image": self.image, "cpu": 2, "ram_mib": 64, "gpu": 1}
        return int(self.client.post("/deployments", command=command, **(whole | fields))["id"])

    def wait_for(self, deployment: int, *statuses: str) -> None:
        path = f"/deployments/{deployment}"

        def reached() -> bool:
            row = self.client.get(path)
            if row["status"] == "failed" and "failed" not in statuses:
                raise CommandError(f"{path} failed: {row['status_reason']}")
            return row["status"] in statuses

        wait_until(reached, f"{path} is {' or '.join(statuses)}")

    def event(self, deployment: int, kind: str) -> datetime:
        """Return the time of the last event of the kind."""
        events = self.client.list(f"/deployments/{deployment}/events")
        return max(datetime.fromisoformat(e["time"]) for e in events if e["kind"] == kind)

    def started_at(self) -> datetime:
        """Return when the only running container was started, by its engine's clock."""
        (container,) = self._containers(ended=False)
        started = parse(container.attrs["State"]["StartedAt"])
        assert started is not None  # noqa: S101 - it is running
        return started

    def wait_for_ready_line(self, deployment: int) -> None:
        path = f"/deployments/{deployment}/logs"
        wait_until(lambda: b"ready" in self.client.text(path), f"{path} contains `ready`")

    def clear(self) -> None:
        """End all deployments, the pending ones first so that no other is placed."""
        for status, verb in (("pending", "cancel"), ("starting", "stop"), ("running", "stop")):
            for deployment in self.client.list(f"/deployments?status={status}"):
                self.client.post(f"/deployments/{deployment['id']}/{verb}")
        live = ("pending", "starting", "running", "stopping")
        wait_until(
            lambda: not any(self.client.list(f"/deployments?status={s}") for s in live),
            "the bench's deployments have ended",
        )
        wait_until(lambda: not self.containers(), "their containers are gone")

    def containers(self) -> list[Any]:
        """Return the containers on all engines, also those that have ended."""
        return self._containers(ended=True)

    def _containers(self, *, ended: bool) -> list[Any]:
        labelled: dict[str, Any] = {"label": _LABEL}
        return [c for e in self.engines for c in e.containers.list(all=ended, filters=labelled)]

    def _connect(self, node: str, socket: str) -> None:
        gpus = [word for device in DEVICES for word in ("--gpu-device", device)]
        status, output = self.service.run(
            "connect_cluster", str(self.cluster), "--node", node, "--docker", socket,
            "--network", "none", "--yes", *gpus,
        )  # fmt: skip
        if status:
            raise CommandError(output)


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--docker", metavar="ENDPOINT", help="default: a private engine")
    parser.add_argument(
        "--image",
        type=images.argument,
        help="an image with sh and sleep; default: the private engines'",
    )
    parser.add_argument(
        "--nodes",
        type=int,
        default=1,
        metavar="N",
        help="private engines, each of them a node of the cluster; default: %(default)s",
    )
    parser.add_argument("--tries", type=int, default=20, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument(
        "--chaos",
        type=int,
        metavar="N",
        help="run N containers instead while the workers and the private engines are killed",
    )
    parser.add_argument(
        "--churn",
        type=float,
        metavar="MINUTES",
        help="call every verb at random instead while processes are killed and frozen",
    )
    add_scale(parser)


def command(options: Mapping[str, Any], out: Callable[[str], object]) -> None:
    """Run the bench. Raises CommandError when a check failed."""
    if options["docker"]:
        private = options["chaos"] or options["churn"] or options["nodes"] != 1
        if private or not options["image"]:
            raise CommandError(
                "--docker needs --image; --chaos, --churn and --nodes need engines that may be"
                " killed."
            )
        with _service(options["scale"]) as service:
            _latencies(Bench(service, [options["docker"]], options["image"]), options["tries"], out)
        return
    with _private_engines(options["nodes"]) as engines, _service(options["scale"]) as service:
        from tests.support.docker_image import IMAGE

        bench = Bench(service, [engine.socket for engine in engines], options["image"] or IMAGE)
        choose = random.Random(options["seed"])  # noqa: S311 - reproducible, not secret
        if options["chaos"]:
            from benchmarks import chaos

            chaos.run(bench, engines, options["chaos"], choose, out)
        elif options["churn"]:
            from benchmarks import churn

            churn.run(bench, engines, options["churn"], choose, out)
        else:
            _latencies(bench, options["tries"], out)


@contextmanager
def _service(scale: Sequence[tuple[str, int]]) -> Iterator[Service]:
    with TemporaryDirectory(prefix="hypervisor-bench-") as folder:
        # With a budget of 2, a deployment has no third eviction with minutes of back-off. The
        # access token has to last for a long run.
        service = Service(
            Path(folder) / "home", STOP_GRACE_SECONDS=str(GRACE_S), SCHEDULER_PREEMPTION_BUDGET="2",
            ACCESS_TOKEN_EXPIRE_MINUTES="1440",  # noqa: S106 - not a password
        )  # fmt: skip
        service.scale(scale).start()
        try:
            yield service
        finally:
            service.stop()


@contextmanager
def _private_engines(count: int) -> Iterator[Sequence[Any]]:
    """Start engines like those of the tests: they remove all their data, and may be killed."""
    from tests.support.docker_engine import Engine, missing

    if why := missing():
        raise CommandError(f"{why}. Or name one: --docker unix:///var/run/docker.sock --image …")
    with ExitStack() as started:
        engines = [Engine() for _ in range(count)]
        for engine in engines:
            started.callback(engine.close)
        for engine in engines:
            engine.start()
        yield engines


def _latencies(bench: Bench, tries: int, out: Callable[[str], object]) -> None:
    started, reported, preempted = [], [], []
    for _ in range(tries):
        deployment = bench.deploy(["sleep", "600"])
        bench.wait_for(deployment, "running")
        placed = bench.event(deployment, "placed")
        started.append(_ms(placed, bench.started_at()))
        reported.append(_ms(placed, bench.event(deployment, "running")))
        bench.clear()
    for _ in range(tries):
        preempted.append(_preemption(bench))
        bench.clear()
    out(_row("placed → container running", started))
    out(_row("placed → reported as running", reported))
    out(_row(f"POST → preemptor's container running, less the grace of {GRACE_S} s", preempted))


def _preemption(bench: Bench) -> float:
    """Return the milliseconds less the grace, which passes because the victim ignores SIGTERM."""
    victim = bench.deploy(_STUBBORN, priority=10)
    bench.wait_for(victim, "running")
    bench.wait_for_ready_line(victim)
    began = datetime.now().astimezone()
    preemptor = bench.deploy(["sleep", "600"], priority=90)
    bench.wait_for(preemptor, "running")
    return _ms(began, bench.started_at()) - 1000 * GRACE_S


def _ms(began: datetime, ended: datetime) -> float:
    return 1000 * (ended - began).total_seconds()


def _row(name: str, samples: list[float]) -> str:
    return (
        f"{name}: median {median(samples):.0f} ms, best {min(samples):.0f}, worst"
        f" {max(samples):.0f} ({len(samples)} tries)"
    )
