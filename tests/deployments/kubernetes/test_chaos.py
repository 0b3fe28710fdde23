"""Random deployments on Kubernetes, with calls, Pods and processes lost at random: resources are
never allocated twice, nothing runs twice, and nothing is left."""

import random
from collections import Counter
from contextlib import suppress
from typing import Any

import pytest
from pytest_django import Settings

from clusters import drivers
from clusters.drivers.kubernetes import pods
from clusters.models import Cluster
from deployments import services
from deployments.choices import Status
from deployments.environment import seal
from deployments.models import Deployment
from deployments.runtime.models import Run
from scheduling.cycle.run import run_cycle
from scheduling.insight.verify import violations
from scheduling.models import SchedulingCycle
from tests.fixtures.deployments import Submit
from tests.support.docker_engine import wait_until
from tests.support.kube_api import KubeCluster
from tests.support.kube_api.status import ApiError
from tests.support.kubernetes import IMAGE, STUBBORN, UNTIL_ASKED
from tests.support.reconcile import reconcile

pytestmark = pytest.mark.django_db

STEPS = 45
_SEED = 7
PROGRAMS = [
    UNTIL_ASKED,
    UNTIL_ASKED,
    STUBBORN,
    ["true"],
    ["sh", "-c", "exit 3"],
    ["no-such-program"],
]
FAULTS = [
    None,
    ApiError(429, "TooManyRequests", "slow down", {"Retry-After": "1"}),
    ApiError(500, "InternalError", "leader changed"),
    ApiError(409, "Conflict", "the object has been modified"),
]


class Chaos:
    def __init__(self, seed: int, cluster: Cluster, kube: KubeCluster, submit: Submit) -> None:
        self.random = random.Random(seed)
        self.cluster, self.kube, self.submit = cluster, kube, submit
        self.done: Counter[str] = Counter()

    def act(self) -> None:
        name = self.random.choice(
            ["arrive", "arrive", "arrive", "stop", "disturb", "disturb", "evict", "restart"]
        )
        self.done[name] += 1
        getattr(self, name)()

    def arrive(self) -> None:
        self.submit(
            name=f"job-{self.done.total()}",
            image=self.random.choice([IMAGE, IMAGE, IMAGE, IMAGE, "nobody/nothing:1"]),
            command=self.random.choice(PROGRAMS),
            env=self.random.choice([{}, {"TOKEN": seal("hunter2")}]),
            cpu_milli=self.random.choice([1000, 2000, 4000, 8000]),
            priority=self.random.choice([10, 50, 90]),
        )

    def stop(self) -> None:
        active = Deployment.objects.filter(status__in=[Status.STARTING, Status.RUNNING])
        if deployment := self.one(list(active.order_by("pk"))):
            services.stop(deployment, actor="bob")

    def disturb(self) -> None:
        method = self.random.choice(["GET", "POST", "PATCH", "DELETE"])
        after = self.random.random() < 0.5
        part = self.random.choice(["/pods", "/secrets"]) if method == "POST" else "/pods"
        self.kube.server.fail_next(method, part, self.random.choice(FAULTS), after=after)

    def evict(self) -> None:
        """End a Pod from outside, in one of the ways of Kubernetes."""
        key = self.one([(p["metadata"]["namespace"], p["metadata"]["name"]) for p in self.pods()])
        if key:
            way = self.random.choice([self.kube.drain, self.kube.delete, self.kube.preempt])
            with suppress(ApiError):  # it is already gone
                way(key)

    def restart(self) -> None:
        """Start with nothing in memory, like another worker process."""
        drivers._drivers.clear()

    def step(self) -> None:
        run_cycle(self.cluster.organization_id, SchedulingCycle.Trigger.MANUAL)
        reconcile(self.cluster.pk)
        assert list(violations()) == []
        self.check_room()

    def check_room(self) -> None:
        """Check that unfinished Pods fit on their nodes and are of different deployments."""
        live = [p for p in self.pods() if p["status"]["phase"] not in ("Succeeded", "Failed")]
        for node in self.kube.nodes:
            there = [p for p in live if pods.planned_node(p["spec"]) == node.name]
            cpus = [p["spec"]["containers"][0]["resources"]["requests"]["cpu"] for p in there]
            assert sum(int(cpu.removesuffix("m")) for cpu in cpus) <= int(node.cpu) * 1000
        runs = [int(p["metadata"]["labels"][pods.RUN]) for p in live]
        owners = Run.objects.filter(pk__in=runs).values_list("deployment", flat=True)
        assert len(owners) == len(set(owners)) == len(runs)

    def pods(self) -> list[dict[str, Any]]:
        return self.kube.store.all()[0]

    def one(self, among: list[Any]) -> Any:
        return self.random.choice(among) if among else None


def test_at_random(kube: KubeCluster, east: Cluster, submit: Submit, settings: Settings) -> None:
    settings.STOP_GRACE_SECONDS = 1
    chaos = Chaos(_SEED, east, kube, submit)

    for _ in range(STEPS):
        chaos.act()
        chaos.step()

    kube.server.faults.clear()
    for deployment in Deployment.objects.order_by("pk"):
        if deployment.status == Status.PENDING:
            services.cancel(deployment, actor="bob")
        elif deployment.status in (Status.STARTING, Status.RUNNING):
            services.stop(deployment, actor="bob")

    def is_over() -> bool:
        chaos.step()
        left = chaos.pods() or kube.secrets.all()
        return not left and not Run.objects.unfinished().exists()

    wait_until(is_over, "nothing is left", seconds=60)
    ended = Counter(Deployment.objects.values_list("status", flat=True))
    assert sum(ended.values()) == chaos.done["arrive"]
    assert not set(ended) & {Status.PENDING, Status.STARTING, Status.RUNNING, Status.STOPPING}
    assert all(chaos.done[name] for name in ("stop", "disturb", "evict", "restart"))
