"""Deployments on a real Docker Engine that is stopped, killed and hung, by workers that die.

tests/deployments tests the logic of each case on a fake; these tests show that a real engine
behaves like the fake.
"""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection as database
from django.db import connections
from django.utils import timezone
from docker.models.containers import Container
from pytest_django import Settings

from clusters import services as cluster_services
from clusters.capacity import Capacity
from clusters.drivers.docker.labels import CONNECTION, RUN, label_filter
from clusters.models import Cluster, Connection
from deployments import services
from deployments.choices import Status
from deployments.environment import seal
from deployments.logs import store
from deployments.models import Deployment
from deployments.runtime import lost_contact
from deployments.runtime.models import Run
from hypervisor.base.errors import Conflict
from hypervisor.standalone.bootstrap import ROOT
from orgs.models import Event, Organization
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


class World:
    """A cluster of 8 cores, 16 GiB and the GPUs g0 and g1 on a real engine."""

    def __init__(self, acme: Organization, engine: Engine, submit: Submit, name: str = "real"):
        self.acme, self.engine, self._submit = acme, engine, submit
        self.cluster = cluster_services.create(
            actor="alice", organization=acme, name=name, capacity=Capacity(8000, 16384, 2)
        )
        Cluster.objects.filter(pk=self.cluster.pk).update(driver="docker")
        self.cluster.refresh_from_db()
        self.connection = Connection.objects.create(
            cluster=self.cluster,
            endpoint=engine.socket,
            engine_id=str(engine.folder),
            network=Connection.Network.NONE,
            devices=["g0", "g1"],
            probed_at=timezone.now(),
        )

    def deploy(self, *command: str, **fields: Any) -> Deployment:
        """Submit a deployment, and run a cycle that places it if it fits."""
        fields = {"image": IMAGE, "command": command or SLEEPS, "ram_mib": 64, **fields}
        deployment = self._submit(**fields)
        self.plan()
        return deployment

    def plan(self) -> None:
        run_cycle(self.acme.pk, SchedulingCycle.Trigger.CHANGE)

    def reconcile(self) -> None:
        reconcile(self.cluster.pk)

    def reconcile_until(self, condition: Callable[[], object], what: str) -> None:
        def is_met() -> object:
            self.reconcile()
            return condition()

        wait_until(is_met, what)

    def run(self, *command: str, **fields: Any) -> Deployment:
        deployment = self.deploy(*command, **fields)
        self.reconcile_until(lambda: status(deployment) == Status.RUNNING, "it runs")
        return fresh(deployment)

    def ends(self, deployment: Deployment) -> Deployment:
        """Return the deployment once it has ended and its container is gone."""
        self.reconcile_until(
            lambda: fresh(deployment).finished_at and not self.containers(), "it ended"
        )
        return fresh(deployment)

    def containers(self) -> list[Container]:
        filters = label_filter(self.connection.uid)
        return self.engine.client.containers.list(all=True, filters=filters)

    def container(self, deployment: Deployment) -> Container:
        filters = label_filter(self.connection.uid, deployment.runs.latest("pk").container)
        (found,) = self.engine.client.containers.list(all=True, filters=filters)
        return found

    def lose_contact(self) -> None:
        """Reconcile with an engine that does not answer until it counts as lost."""
        self.reconcile()
        rows = Connection.objects.filter(pk=self.connection.pk)
        assert rows.exclude(lost_contact_at=None).exists()
        rows.update(lost_contact_at=timezone.now() - timedelta(seconds=60))
        self.reconcile()


@pytest.fixture(autouse=True)
def quick(settings: Settings) -> None:
    settings.STOP_GRACE_SECONDS = 1
    cache.clear()


@pytest.fixture
def world(acme: Organization, engine: Engine, submit: Submit) -> Iterator[World]:
    yield World(acme, engine, submit)
    assert list(violations()) == []


def fresh(deployment: Deployment) -> Deployment:
    return Deployment.objects.get(pk=deployment.pk)


def status(deployment: Deployment) -> str:
    return fresh(deployment).status


def kinds(cluster: Cluster) -> list[str]:
    events = Event.objects.filter(subject="cluster", subject_id=cluster.pk).order_by("pk")
    return [event.kind for event in events]


def logs(deployment: Deployment) -> bytes:
    return store.read(store.run_of(deployment), tail=None)


# --- The life of a container ----------------------------------------------------------------------


def test_the_output_of_a_container_is_kept_after_its_removal(world: World) -> None:
    script = 'echo "$GREETING $TOKEN"; echo done >&2'
    env = {"GREETING": "hello", "TOKEN": seal("s3cret")}

    deployment = world.ends(world.deploy("sh", "-c", script, env=env))

    assert (deployment.status, deployment.exit_code) == (Status.COMPLETED, 0)
    assert deployment.started_at is not None
    assert sorted(logs(deployment).splitlines()) == [b"done", b"hello s3cret"]


def test_the_output_can_be_read_at_every_moment_around_the_end(world: World) -> None:
    for _ in range(5):
        deployment = world.run("sh", "-c", "echo word; sleep 1")
        wait_until(lambda: logs(deployment) == b"word\n", "it has spoken")  # noqa: B023
        over = threading.Event()
        with ThreadPoolExecutor(2) as pool:
            readers = [pool.submit(_read_until, over, deployment) for _ in range(2)]
            world.ends(deployment)
            over.set()

        assert {text for reader in readers for text in reader.result()} == {b"word\n"}


def _read_until(over: threading.Event, deployment: Deployment) -> list[bytes]:
    texts = []
    try:
        while not over.is_set():
            texts.append(logs(deployment))
        return [*texts, logs(deployment)]
    finally:
        connections.close_all()


@pytest.mark.parametrize(
    ("command", "fields", "code", "remedy"),
    [
        (("sh", "-c", "exit 3"), {}, "exit_code", "Exited with code 3: see its logs."),
        (("sh", "-c", "exec tail /dev/zero"), {"ram_mib": 16}, "out_of_memory", "more `ram_mib`"),
        (("no-such-program",), {}, "command_not_found", "`command`"),
    ],
    ids=["exit code", "out of memory", "no command"],
)
def test_each_failure_has_a_code_and_a_remedy(
    world: World, command: tuple[str, ...], fields: dict[str, Any], code: str, remedy: str
) -> None:
    deployment = world.ends(world.deploy(*command, **fields))

    assert (deployment.status, deployment.status_code) == (Status.FAILED, code)
    assert remedy in deployment.status_reason


def test_a_deployment_that_is_changed_while_its_container_stops_ends(world: World) -> None:
    deployment = world.run()
    services.stop(deployment, actor="bob")

    def reconcile_until_gone() -> None:
        try:
            world.reconcile_until(lambda: not world.containers(), "its container is gone")
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        loop = pool.submit(reconcile_until_gone)
        for priority in itertools.cycle(range(1, 101)):
            if loop.done():
                break
            with suppress(Conflict):  # it has ended
                services.adjust(fresh(deployment), actor="bob", priority=priority)
        loop.result()

    assert status(deployment) == Status.STOPPED


def test_an_outside_kill_is_not_taken_for_the_end_of_a_grace(world: World) -> None:
    deployment = world.run(restart_policy="on-failure")

    world.container(deployment).kill()

    world.reconcile_until(lambda: not world.containers(), "its container is gone")
    assert deployment.runs.get().exit_code == 137
    assert not Event.objects.filter(subject_id=deployment.pk, kind="killed").exists()


def test_a_process_killed_for_its_memory_is_mentioned_if_the_rest_completes(
    world: World,
) -> None:
    command = ("sh", "-c", "tail /dev/zero; exit 0")

    row = world.ends(world.deploy(*command, ram_mib=16))

    assert (row.status, row.exit_code) == (Status.COMPLETED, 0)
    assert (
        "One of its processes was killed because its 16 MiB of memory were used up"
        in row.status_reason
    )


def test_a_failed_deployment_is_restarted_after_its_back_off(world: World) -> None:
    deployment = world.deploy("false", restart_policy="on-failure", max_restarts=1)
    world.reconcile_until(lambda: status(deployment) == Status.PENDING, "it waits")
    assert fresh(deployment).status_code == "restart_backoff"
    Deployment.objects.filter(pk=deployment.pk).update(ready_after=timezone.now())

    world.plan()
    row = world.ends(deployment)

    assert (row.status, row.restarts, deployment.runs.count()) == (Status.FAILED, 1, 2)


def test_a_deployment_that_ignores_a_stop_is_killed_with_that_reason(world: World) -> None:
    deployment = world.run(*STUBBORN)
    wait_until(lambda: logs(deployment) == b"ready\n", "it ignores SIGTERM")
    services.stop(deployment, actor="bob")

    row = world.ends(deployment)

    assert (row.status, row.status_code, row.exit_code) == (
        Status.STOPPED, "killed_after_grace", 137,
    )  # fmt: skip
    assert "within 1 s of SIGTERM" in row.status_reason


def test_a_deployment_ends_after_its_maximum_runtime(world: World) -> None:
    deployment = world.ends(world.deploy(max_runtime_s=1))

    assert deployment.status == Status.COMPLETED
    assert "`max_runtime_s` (1 s)" in deployment.status_reason


# --- The gate -------------------------------------------------------------------------------------


def test_a_preemptor_starts_only_after_its_victim_is_gone_and_gets_its_gpu(world: World) -> None:
    victim = world.run(*STUBBORN, gpu=2, priority=10)
    wait_until(lambda: logs(victim) == b"ready\n", "it ignores SIGTERM")

    preemptor = world.deploy(gpu=1, priority=90)
    together = []

    def runs() -> bool:
        together.append(len(world.containers()))
        return status(preemptor) == Status.RUNNING

    world.reconcile_until(runs, "the preemptor runs")

    assert max(together) == 1
    assert status(victim) == Status.PENDING
    assert preemptor.runs.get().devices == ["g0"]
    (request,) = world.container(preemptor).attrs["HostConfig"]["DeviceRequests"]
    assert request["DeviceIDs"] == ["g0"]


# --- Reconcile ------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_restart_of_the_engine_ends_its_containers_without_failing_them(
    world: World, how: str
) -> None:
    deployment = world.run(restart_policy="on-failure", max_restarts=1)
    getattr(world.engine, how)()
    world.reconcile()
    assert status(deployment) == Status.RUNNING
    assert Connection.objects.get().lost_contact_at is not None

    world.engine.start()
    world.reconcile_until(
        lambda: status(deployment) == Status.PENDING, "it waits to be placed again"
    )
    row = fresh(deployment)
    assert (row.status_code, row.restarts) == ("engine_failed", 0) or (
        row.status_code, row.restarts,
    ) == ("engine_evicted", 0)  # fmt: skip
    world.plan()
    world.reconcile_until(lambda: status(deployment) == Status.RUNNING, "it runs again")

    assert len(world.containers()) == 1
    assert Connection.objects.get().lost_contact_at is None


def test_a_container_that_outlives_its_engine_continues(
    acme: Organization, new_engine: NewEngine, submit: Submit
) -> None:
    world = World(acme, new_engine(live_restore=True), submit)
    deployment = world.run()
    world.engine.kill()
    world.reconcile()

    world.engine.start()
    world.reconcile()

    assert status(deployment) == Status.RUNNING
    assert deployment.runs.count() == 1
    assert world.container(deployment).status == "running"


def test_a_deployment_whose_container_another_client_removed_is_placed_again(world: World) -> None:
    deployment = world.run()
    world.container(deployment).remove(force=True)

    world.reconcile()

    row = fresh(deployment)
    assert (row.status, row.status_code, row.restarts) == ("pending", "container_vanished", 0)


def test_a_container_whose_run_was_deleted_is_removed_and_recorded(world: World) -> None:
    run = world.run().runs.get()
    Run.objects.filter(pk=run.pk).delete()
    Deployment.objects.all().delete()

    world.reconcile_until(lambda: not world.containers(), "it is gone")

    event = Event.objects.get(subject="cluster", kind="orphan_removed")
    assert event.data["run"] == run.pk


def test_an_unknown_container_is_left_alone(world: World) -> None:
    world.engine.client.containers.run(
        IMAGE, list(SLEEPS), detach=True, network_mode="none", name="somebodys",
        labels={CONNECTION: str(world.connection.uid), RUN: "4711"},
    )  # fmt: skip
    deployment = world.deploy()

    world.reconcile()
    world.reconcile()

    (there,) = world.containers()
    assert (there.name, there.status) == ("somebodys", "running")
    assert status(deployment) == Status.PENDING
    (described,) = Connection.objects.get(cluster=world.cluster).unknown_containers
    assert (described["name"], described["image"]) == ("somebodys", IMAGE)
    assert described["command"] == list(SLEEPS)


@pytest.mark.parametrize("where", ["before", "created", "started"])
def test_the_work_of_a_killed_worker_is_completed(world: World, where: str) -> None:
    deployment = world.deploy(gpu=1)
    died = _worker_that_dies(world.cluster, where)
    assert died.returncode == -signal.SIGKILL, died.stderr
    run = deployment.runs.get()
    assert run.launched_at is not None
    assert run.devices == ["g0"]

    world.reconcile_until(lambda: status(deployment) == Status.RUNNING, "it runs")

    assert len(world.containers()) == 1
    assert deployment.runs.get().devices == ["g0"]


def test_an_eviction_after_a_worker_was_killed_in_a_call_leaves_nothing_behind(
    world: World,
) -> None:
    deployment = world.deploy()
    _worker_that_dies(world.cluster, "started")
    services.preempt(deployment, actor="olga")

    world.reconcile_until(lambda: not Run.objects.unfinished().exists(), "its run is closed")

    assert world.containers() == []


def test_an_engine_that_hangs_is_reported_and_delays_no_other_cluster(
    acme: Organization, world: World, forge: Cluster, submit: Submit
) -> None:
    there = world.run(requested_cluster=world.cluster)
    other = submit(requested_cluster=forge)
    world.engine.pause()

    with ThreadPoolExecutor() as pool:
        hung = pool.submit(_in_thread, world.cluster)
        wait_until(lambda: _is_at_work(world.cluster), "a worker waits for the engine")
        began = time.monotonic()
        reconcile(world.cluster.pk)
        world.plan()
        reconcile(forge.pk)
        took = time.monotonic() - began
        assert status(other) == Status.RUNNING
        hung.result(30)
    assert took < 3
    world.lose_contact()
    assert fresh(there).status_code == "lost_contact"

    world.engine.resume()
    world.reconcile()

    assert (status(there), fresh(there).status_code) == (Status.RUNNING, "running")
    assert kinds(world.cluster)[-2:] == ["lost_contact", "contact_regained"]


def test_a_lost_cluster_is_given_up_and_cleared_before_its_next_use(
    world: World, forge: Cluster
) -> None:
    cluster_services.cordon(forge, actor="olga")
    deployment = world.run()
    (old,) = world.containers()
    world.engine.pause()
    world.lose_contact()

    cluster_services.uncordon(forge, actor="olga")
    lost_contact.declare_lost(world.cluster, actor="olga")
    world.plan()
    reconcile(forge.pk)
    assert (status(deployment), fresh(deployment).cluster) == (Status.RUNNING, forge)

    world.engine.resume()
    again = world.deploy(requested_cluster=world.cluster)
    together: list[int] = []

    def runs() -> bool:
        world.plan()
        together.append(len(world.containers()))
        return status(again) == Status.RUNNING

    world.reconcile_until(runs, "the next one runs")

    assert max(together) == 1
    assert old.id not in [c.id for c in world.containers()]
    assert "orphan_removed" in kinds(world.cluster)


def _worker_that_dies(cluster: Cluster, where: str) -> "subprocess.CompletedProcess[str]":
    values = database.settings_dict
    url = (
        f"postgres://{values['USER']}:{values['PASSWORD']}@{values['HOST']}:{values['PORT']}"
        f"/{values['NAME']}"
    )
    return subprocess.run(
        [sys.executable, "-m", "tests.support.dying", str(cluster.pk), where],
        cwd=ROOT, env={**os.environ, "DATABASE_URL": url}, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip


def _in_thread(cluster: Cluster) -> None:
    try:
        reconcile(cluster.pk)
    finally:
        connections.close_all()


def _is_at_work(cluster: Cluster) -> bool:
    with database.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted")
        return bool(cursor.fetchone()[0])
