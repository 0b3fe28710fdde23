"""Two real engines as the nodes of one cluster: one of them stopped, hung or gone for good."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.core.management import call_command
from django.db import connections as databases
from django.utils import timezone
from docker.models.containers import Container
from pytest_django import Settings

from clusters import connections, engines, nodes
from clusters import services as cluster_services
from clusters.capacity import Capacity
from clusters.connections import Route
from clusters.drivers.docker.labels import CONNECTION
from clusters.models import Connection, Node
from clusters.nodes import NodeSpec
from deployments import moves
from deployments.choices import Status
from deployments.models import Deployment
from deployments.runtime.reconcile import reconcile as reconcile_engine
from hypervisor.base.errors import Conflict
from orgs.models import Organization
from scheduling.cycle.run import run_cycle
from scheduling.insight.verify import violations
from scheduling.models import SchedulingCycle
from tests.fixtures.deployments import Submit
from tests.fixtures.docker import NewEngine
from tests.support.docker_engine import Engine, wait_until
from tests.support.docker_image import IMAGE
from tests.support.reconcile import reconcile

pytestmark = [pytest.mark.docker, pytest.mark.django_db(transaction=True)]

STUBBORN = ("sh", "-c", "trap '' TERM; echo ready; exec sleep 600")
SLEEPS = ("sleep", "600")
GPUS = ("g0", "g1")


class Rack:
    """A cluster of the nodes a and b, each with one core and two GPUs on an engine of its own."""

    def __init__(self, acme: Organization, submit: Submit, rigs: dict[str, Engine]) -> None:
        self.acme, self.submit, self.rigs = acme, submit, rigs
        specs = [NodeSpec(name, Capacity(1000, 1024, len(GPUS))) for name in rigs]
        self.cluster = cluster_services.create(
            actor="alice", organization=acme, name="rack", specs=specs
        )
        for name in rigs:
            connections.connect(self.cluster, actor="olga", route=self.route(name), node=name)
        self.cluster.refresh_from_db()

    def route(self, name: str) -> Route:
        network = Connection.Network.NONE
        return Route("docker", self.rigs[name].socket, network=network, devices=GPUS)

    def node(self, name: str) -> Node:
        return self.cluster.nodes.get(name=name)

    def plan(self) -> None:
        run_cycle(self.acme.pk, SchedulingCycle.Trigger.CHANGE)

    def reconcile(self) -> None:
        reconcile(self.cluster.pk)

    def until(self, condition: Callable[[], object], what: str) -> None:
        def is_met() -> object:
            self.plan()
            self.reconcile()
            return condition()

        wait_until(is_met, what, 30)

    def run(self, *command: str, node: str = "", **fields: Any) -> Deployment:
        """Submit a deployment and return it once it runs, on the node of that name if given."""
        require = {"name": [node]} if node else {}
        deployment = self.submit(
            image=IMAGE, command=command or SLEEPS, cpu_milli=100, ram_mib=32, require=require,
            **fields,
        )  # fmt: skip
        self.until(lambda: fresh(deployment).status == Status.RUNNING, "it runs")
        return fresh(deployment)

    def there(self, name: str) -> list[Container]:
        """Return the containers on an engine, also those that have ended."""
        return self.rigs[name].client.containers.list(all=True, filters={"label": CONNECTION})

    def lose(self, name: str) -> None:
        """Reconcile until the engine counts as lost."""
        rows = Connection.objects.filter(node__name=name)
        self.until(lambda: rows.exclude(lost_contact_at=None).exists(), "it does not answer")
        rows.update(lost_contact_at=timezone.now() - timedelta(seconds=60))
        self.reconcile()
        assert self.node(name).state == Node.State.LOST


@pytest.fixture(autouse=True)
def quick(settings: Settings) -> None:
    settings.STOP_GRACE_SECONDS = 1
    cache.clear()


@pytest.fixture
def rack(
    acme: Organization, submit: Submit, engine: Engine, new_engine: NewEngine
) -> Iterator[Rack]:
    made = Rack(acme, submit, {"a": engine, "b": new_engine()})
    for name in made.rigs:
        Node.objects.filter(cluster=made.cluster, name=name).update(labels={"name": name})
    yield made
    assert list(violations()) == []


def fresh(deployment: Deployment) -> Deployment:
    return Deployment.objects.get(pk=deployment.pk)


def where(deployment: Deployment) -> str:
    node = fresh(deployment).node
    return node.name if node else ""


def in_thread(work: Callable[[], None]) -> None:
    try:
        work()
    finally:
        databases.close_all()


def test_a_stubborn_container_has_ended_before_the_next_starts_on_the_other_engine(
    rack: Rack,
) -> None:
    deployment = rack.run(*STUBBORN, gpu=2)
    former = where(deployment)
    (other,) = {"a", "b"} - {former}
    seen: list[tuple[int, int]] = []

    moves.move(deployment, actor="olga", target=rack.node(other))

    def is_there() -> bool:
        running = {name: [c for c in rack.there(name) if c.status == "running"] for name in "ab"}
        seen.append((len(running[former]), len(running[other])))
        return fresh(deployment).status == Status.RUNNING

    rack.until(is_there, "it runs on the other engine")
    assert where(deployment) == other
    assert {former + other for former, other in seen} <= {0, 1}
    assert rack.there(former) == []


def test_an_engine_that_is_stopped_takes_its_containers_with_it_and_no_others(rack: Rack) -> None:
    stopped, kept = rack.run(node="a", gpu=1), rack.run(node="b", gpu=1)
    (container,) = rack.there("b")
    rack.rigs["a"].stop()
    rack.lose("a")
    assert fresh(stopped).status_code == "lost_contact"

    elsewhere = rack.run(gpu=1)

    assert where(elsewhere) == "b"
    rack.rigs["a"].start()
    rack.until(lambda: rack.node("a").state == Node.State.ACTIVE, "the node is back")
    rack.until(lambda: fresh(stopped).status == Status.RUNNING, "it runs again")
    assert where(stopped) == "a"
    assert container.id in [c.id for c in rack.there("b")]
    assert fresh(kept).status == Status.RUNNING


def test_an_engine_that_hangs_delays_no_other_node(rack: Rack) -> None:
    there = rack.run(node="a")
    (hung,) = [e for e in engines.of_cluster(rack.cluster) if e.where == "a of rack"]
    (well,) = [e for e in engines.of_cluster(rack.cluster) if e.where == "b of rack"]
    waiting = rack.submit(image=IMAGE, command=SLEEPS, cpu_milli=100, ram_mib=32,
                          require={"name": ["b"]})  # fmt: skip
    rack.rigs["a"].pause()

    with ThreadPoolExecutor() as pool:
        call = pool.submit(in_thread, lambda: reconcile_engine(hung))
        began = time.monotonic()
        rack.plan()
        wait_until(lambda: _runs_after(lambda: reconcile_engine(well), waiting), "it runs")
        took = time.monotonic() - began
        assert not call.done()
        call.result(60)
    assert took < 3
    rack.lose("a")
    rack.rigs["a"].resume()
    rack.until(lambda: rack.node("a").state == Node.State.ACTIVE, "the node is back")
    assert (fresh(there).status, fresh(there).status_code) == (Status.RUNNING, "running")


def _runs_after(step: Callable[[], None], deployment: Deployment) -> bool:
    step()
    return fresh(deployment).status == Status.RUNNING


def test_the_node_of_an_engine_that_is_gone_for_good_is_given_up_and_deleted(rack: Rack) -> None:
    stranded = rack.run(gpu=1)
    gone = where(stranded)
    (left,) = {"a", "b"} - {gone}
    rack.rigs[gone].kill()
    rack.lose(gone)

    call_command("declare_lost", "rack", "--node", gone)
    rack.until(lambda: fresh(stranded).status == Status.RUNNING, "it runs on the other node")
    assert where(stranded) == left
    with pytest.raises(Conflict, match="confirm that it is gone for good"):
        connections.disconnect(rack.cluster, actor="olga", node=gone)
    call_command("disconnect_cluster", "rack", "--node", gone, "--engine-is-gone")
    nodes.delete(rack.node(gone), actor="alice")

    rack.cluster.refresh_from_db()
    assert (rack.cluster.gpu, rack.cluster.state) == (2, "active")
    rack.reconcile()
    assert fresh(stranded).status == Status.RUNNING


def test_a_container_that_comes_back_with_its_engine_is_removed_before_anything_starts_there(
    rack: Rack,
) -> None:
    stranded = rack.run(*STUBBORN, node="a", gpu=2)
    (old,) = rack.there("a")
    rack.rigs["a"].pause()
    rack.lose("a")
    call_command("declare_lost", "rack", "--node", "a")
    assert fresh(stranded).status == Status.PENDING
    rack.rigs["a"].resume()
    together: list[int] = []

    def runs_again() -> bool:
        together.append(len(rack.there("a")))
        return fresh(stranded).status == Status.RUNNING

    rack.until(runs_again, "it runs there again")

    assert max(together) == 1
    assert old.id not in [c.id for c in rack.there("a")]


def test_one_engine_is_not_two_nodes(rack: Rack) -> None:
    nodes.add(rack.cluster, actor="alice", spec=NodeSpec("c", Capacity(1000, 1024, 2)))

    with pytest.raises(Conflict, match="already connected to node a of cluster rack"):
        connections.connect(rack.cluster, actor="olga", route=rack.route("a"), node="c")
