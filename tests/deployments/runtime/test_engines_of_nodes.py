"""A cluster of several engines: each runs its node, and one that is silent stops no other."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Event as Signal
from typing import Any
from uuid import uuid4

import pytest
from django.core.cache import cache
from django.core.management import call_command
from django.db import connections as databases
from django.utils import timezone

from clusters import connections, engines, nodes
from clusters.drivers.base import Observation, Phase
from clusters.engines import Engine
from clusters.models import Cluster, Connection, Node
from clusters.wakeups import RECONCILE, RECONCILE_ENGINE, flush
from deployments import lifecycle, moves, services
from deployments.choices import Status
from deployments.lifecycle import Change, transition
from deployments.models import Deployment
from deployments.runtime import comparison
from deployments.runtime.lock import exclusive_access, one_at_a_time
from deployments.runtime.lost_contact import declare_lost
from deployments.runtime.models import AbandonedContainer, Run
from deployments.runtime.requests import periodic_requests
from deployments.tasks import purge_outputs, reconcile_all, reconcile_cluster, reconcile_engine
from hypervisor.base.errors import Conflict, Invalid
from orgs.models import Event, Organization
from scheduling.cycle.run import run_cycle
from scheduling.insight.verify import violations
from scheduling.models import SchedulingCycle
from tests.fixtures.deployments import Submit
from tests.fixtures.engines import NewFake, route_to
from tests.support.fake_engine import Container as FakeContainer
from tests.support.fake_engine import FakeEngine
from tests.support.reconcile import reconcile

pytestmark = pytest.mark.django_db(transaction=True)

Rigs = dict[str, FakeEngine]


@pytest.fixture(autouse=True)
def _no_flags() -> None:
    cache.clear()


@pytest.fixture
def put(submit: Submit, rack: Cluster) -> Submit:
    """Submit a deployment and place it on the node of that name."""

    def put_one(node: str, **fields: Any) -> Deployment:
        deployment = submit(**fields)
        target = rack.nodes.get(name=node)
        change = Change(deployment.pk, "as the test wants it", cluster=rack.pk, node=target.pk)
        transition(lifecycle.PLACE, [change], actor="system:test", now=timezone.now())
        return fresh(deployment)

    return put_one


def fresh(deployment: Deployment) -> Deployment:
    return Deployment.objects.get(pk=deployment.pk)


def state(name: str) -> str:
    return Node.objects.get(name=name).state


def run_of(deployment: Deployment) -> Run:
    return deployment.runs.latest("pk")


def on(rack: Cluster, name: str) -> Engine:
    return engines.named(rack, name)


def lose(rack: Cluster, rigs: Rigs, name: str) -> None:
    """Make an engine unreachable for a minute."""
    rigs[name].is_down = True
    reconcile(rack.pk)
    rows = Connection.objects.filter(node__name=name)
    rows.update(lost_contact_at=timezone.now() - timedelta(seconds=60))
    reconcile(rack.pk)


def cycle(acme: Organization) -> None:
    run_cycle(acme.pk, SchedulingCycle.Trigger.CHANGE)


def test_each_engine_runs_the_containers_of_its_node(
    rack: Cluster, rigs: Rigs, put: Submit
) -> None:
    first, second = put("gpu-1", gpu=2), put("gpu-2", gpu=1)

    reconcile(rack.pk)
    reconcile(rack.pk)

    assert rigs["gpu-1"].running == {run_of(first).pk}
    assert rigs["gpu-2"].running == {run_of(second).pk}
    assert (run_of(first).devices, run_of(second).devices) == (["g0", "g1"], ["g0"])
    assert fresh(first).status_reason == "Runs on gpu-1 of rack."
    assert list(violations()) == []
    assert comparison.compare_engines().compared == 2


def test_a_silent_engine_loses_its_node_and_no_other(
    rack: Cluster, rigs: Rigs, put: Submit, submit: Submit, acme: Organization
) -> None:
    stranded, running = put("gpu-1", gpu=1), put("gpu-2", gpu=1)
    reconcile(rack.pk)

    lose(rack, rigs, "gpu-1")
    waiting = [submit(gpu=1), submit(gpu=1)]
    cycle(acme)
    reconcile(rack.pk)
    reconcile(rack.pk)

    assert (state("gpu-1"), state("gpu-2")) == ("lost", "active")
    assert (fresh(stranded).status, fresh(stranded).status_code) == ("running", "lost_contact")
    assert "No contact with gpu-1 of rack since" in fresh(stranded).status_reason
    assert "declare the node lost" in fresh(stranded).status_reason
    assert fresh(running).status_code == "running"
    assert [fresh(row).status for row in waiting] == [Status.RUNNING, Status.PENDING]
    assert run_of(waiting[0]).node == rack.nodes.get(name="gpu-2")
    assert fresh(stranded).lost_contact_at
    assert not fresh(running).lost_contact_at
    (event,) = Event.objects.filter(subject="cluster", kind="lost_contact")
    assert event.reason.startswith("The engine of gpu-1 of rack has not answered since")
    assert event.data["node"] == rack.nodes.get(name="gpu-1").pk
    assert list(violations()) == []


def test_an_engine_that_answers_again_brings_its_node_back(
    rack: Cluster, rigs: Rigs, put: Submit
) -> None:
    stranded, ended = put("gpu-1", gpu=1), put("gpu-1", gpu=1)
    reconcile(rack.pk)
    lose(rack, rigs, "gpu-1")
    rigs["gpu-1"].exit(run_of(ended).pk, 0)
    rigs["gpu-1"].is_down = False

    reconcile(rack.pk)

    assert state("gpu-1") == "active"
    assert rack.nodes.get(name="gpu-1").engine_message == ""
    assert fresh(stranded).status_reason == "Runs on gpu-1 of rack."
    assert fresh(ended).status == Status.COMPLETED
    kinds = Event.objects.filter(subject="cluster", kind__contains="contact").values_list("kind")
    assert [kind for (kind,) in kinds.order_by("pk")] == ["lost_contact", "contact_regained"]


def test_a_node_that_is_declared_lost_gives_its_deployments_back(
    rack: Cluster, rigs: Rigs, put: Submit, acme: Organization
) -> None:
    stranded, running = put("gpu-1", gpu=1), put("gpu-2", gpu=1)
    reconcile(rack.pk)
    rigs["gpu-1"].is_down = True
    reconcile(rack.pk)

    call_command("declare_lost", "rack", "--node", "gpu-1")
    cycle(acme)
    reconcile(rack.pk)
    reconcile(rack.pk)

    assert state("gpu-1") == "lost"
    assert (fresh(stranded).status, run_of(stranded).node) == (
        Status.RUNNING, rack.nodes.get(name="gpu-2"),
    )  # fmt: skip
    assert run_of(running).outcome == ""
    rigs["gpu-1"].is_down = False
    reconcile(rack.pk)
    assert rigs["gpu-1"].by_uid == {}
    assert state("gpu-1") == "active"
    assert Event.objects.filter(kind="orphan_removed").count() == 1


def test_it_has_to_be_said_which_node_is_lost(rack: Cluster, rigs: Rigs) -> None:
    with pytest.raises(Invalid, match="has an engine for each node: name one of the nodes gpu-1"):
        declare_lost(rack, actor="olga")
    with pytest.raises(Invalid, match="has no engine for node gpu-3: name one of the nodes gpu-1"):
        declare_lost(rack, actor="olga", node="gpu-3")
    with pytest.raises(Conflict, match="of node gpu-1 of rack answers: drain the node instead"):
        declare_lost(rack, actor="olga", node="gpu-1")


def test_a_deployment_moves_to_another_engine_only_once_its_container_has_ended(
    rack: Cluster, rigs: Rigs, put: Submit
) -> None:
    deployment = put("gpu-1", gpu=1)
    reconcile(rack.pk)
    rigs["gpu-1"].ignores_stop = True
    first = run_of(deployment)

    moves.move(deployment, actor="olga", target=rack.nodes.get(name="gpu-2"))
    reconcile(rack.pk)
    reconcile(rack.pk)

    assert rigs["gpu-1"].running == {first.pk}
    assert rigs["gpu-2"].starts == []
    rigs["gpu-1"].exit(first.pk, 143)
    cache.clear()
    reconcile(rack.pk)
    reconcile(rack.pk)
    assert rigs["gpu-2"].running == {run_of(deployment).pk}
    assert rigs["gpu-1"].by_uid == {}


def test_the_end_of_a_moved_container_wakes_the_other_engine(
    rack: Cluster, rigs: Rigs, put: Submit
) -> None:
    deployment = put("gpu-2", gpu=1)
    reconcile(rack.pk)
    moves.move(deployment, actor="olga", target=rack.nodes.get(name="gpu-1"))
    reconcile_engine(on(rack, "gpu-1").wakeup[1])
    flush()
    cache.clear()

    reconcile_engine(on(rack, "gpu-2").wakeup[1])

    flush()
    assert cache.get(f"wakeup:deployments.reconcile:{rack.pk}") is not None


def test_containers_that_nobody_knows_block_only_their_node(
    rack: Cluster, rigs: Rigs, submit: Submit, acme: Organization
) -> None:
    reconcile(rack.pk)
    uid = uuid4()
    spec: Any = None
    rigs["gpu-1"].by_uid[uid] = FakeContainer(spec, Observation(uid, Phase.RUNNING, run_id=4711))

    reconcile(rack.pk)
    waiting = [submit(gpu=2), submit(gpu=2)]
    cycle(acme)

    assert (state("gpu-1"), state("gpu-2")) == ("lost", "active")
    assert [fresh(row).status for row in waiting] == [Status.STARTING, Status.PENDING]
    assert fresh(waiting[0]).node == rack.nodes.get(name="gpu-2")
    event = Event.objects.get(kind="unknown_container")
    assert f"`manage.py claim_engine {rack.pk} --node gpu-1`" in event.reason
    call_command("claim_engine", "rack", "--node", "gpu-1", "--yes")
    reconcile(rack.pk)
    assert rigs["gpu-1"].by_uid == {}
    assert state("gpu-1") == "active"


def test_an_engine_of_another_installation_is_claimed_on_its_own(
    rack: Cluster, rigs: Rigs, put: Submit
) -> None:
    running = put("gpu-2")
    reconcile(rack.pk)
    rigs["gpu-1"].markers = {uuid4()}

    reconcile(rack.pk)
    reconcile(rack.pk)

    assert (state("gpu-1"), state("gpu-2")) == ("lost", "active")
    assert rack.nodes.get(name="gpu-1").engine_message.startswith("Its engine has to be claimed")
    assert fresh(running).status == Status.RUNNING
    (different,) = comparison.compare_engines().differences
    assert f"on cluster {rack.pk} (gpu-1 of rack)" in different
    with pytest.raises(Invalid, match="name one of the nodes gpu-1, gpu-2"):
        engines.named(rack, None)
    call_command("claim_engine", "rack", "--node", "gpu-1", "--yes")
    reconcile(rack.pk)
    assert state("gpu-1") == "active"


def test_an_engine_forgets_only_its_own_abandoned_containers(
    rack: Cluster, rigs: Rigs, put: Submit
) -> None:
    put("gpu-1")
    put("gpu-2")
    reconcile(rack.pk)
    rigs["gpu-1"].is_down = True
    Run.objects.all().delete()
    AbandonedContainer.objects.update(since=timezone.now() - timedelta(hours=2))

    reconcile(rack.pk)
    reconcile(rack.pk)

    (left,) = AbandonedContainer.objects.all()
    assert left.node == rack.nodes.get(name="gpu-1")
    rigs["gpu-1"].is_down = False
    reconcile(rack.pk)
    reconcile(rack.pk)
    assert not AbandonedContainer.objects.exists()
    assert not Event.objects.filter(kind="unknown_container").exists()


def test_the_records_of_a_node_that_was_deleted_are_deleted(
    rack: Cluster, rigs: Rigs, put: Submit
) -> None:
    for name in ("gpu-1", "gpu-2"):
        put(name)
    reconcile(rack.pk)
    rigs["gpu-2"].is_down = True
    Run.objects.all().delete()
    connections.disconnect(rack, actor="olga", node="gpu-2", engine_is_gone=True)
    Deployment.objects.all().delete()
    nodes.delete(rack.nodes.get(name="gpu-2"), actor="alice")

    purge_outputs()

    assert [str(row.node) for row in AbandonedContainer.objects.all()] == ["gpu-1"]


def test_the_records_of_runs_from_before_nodes_are_deleted_after_a_week(
    rack: Cluster, rigs: Rigs, new_fake: NewFake, forge: Cluster
) -> None:
    new_fake("forge")
    connections.connect(forge, actor="olga", route=route_to("forge"))
    old = timezone.now() - timedelta(days=8)
    for cluster, since in ((rack, old), (rack, timezone.now()), (forge, old)):
        AbandonedContainer.objects.create(uid=uuid4(), cluster=cluster, run_id=1, since=since)

    reconcile(rack.pk)
    reconcile(forge.pk)
    left = list(AbandonedContainer.objects.values_list("cluster", flat=True))
    assert left == [rack.pk, rack.pk]  # that of forge was certainly not on another engine
    purge_outputs()

    assert AbandonedContainer.objects.get().since > old


# --- Each on its own ------------------------------------------------------------------------------


def requested() -> set[str]:
    """Return the nodes whose engines a reconcile is requested of, and clear the requests."""
    flush()
    rows = Connection.objects.select_related("node")
    keys = {f"wakeup:{RECONCILE_ENGINE}:{row.pk}": str(row.node) for row in rows}
    found = {node for key, node in keys.items() if cache.get(key)}
    cache.clear()
    return found


def test_the_request_for_a_cluster_becomes_one_for_each_engine_with_work(
    rack: Cluster, rigs: Rigs, put: Submit
) -> None:
    reconcile_cluster(rack.pk)
    assert requested() == {"gpu-1", "gpu-2"}  # neither has its marker yet
    reconcile(rack.pk)
    reconcile_cluster(rack.pk)
    assert requested() == set()

    first, second = put("gpu-1"), put("gpu-2")
    reconcile_cluster(rack.pk)
    assert requested() == {"gpu-1", "gpu-2"}
    reconcile(rack.pk)
    services.stop(second, actor="bob")
    cache.clear()
    reconcile_cluster(rack.pk)
    assert requested() == {"gpu-2"}
    reconcile(rack.pk)
    Run.objects.filter(deployment=first).delete()
    reconcile_cluster(rack.pk)
    assert requested() == {"gpu-1"}


def test_each_engine_is_reconciled_periodically(rack: Cluster, rigs: Rigs) -> None:
    reconcile(rack.pk)
    cache.clear()

    reconcile_all()

    assert requested() == {"gpu-1", "gpu-2"}


def test_the_only_engine_of_a_cluster_is_requested_as_in_the_former_release(
    forge: Cluster, new_fake: NewFake
) -> None:
    new_fake("forge")
    connections.connect(forge, actor="olga", route=route_to("forge"))
    flush()
    cache.clear()

    reconcile_all()

    assert requested() == set()
    assert periodic_requests(timezone.now()) == {(RECONCILE, forge.pk): 0.0}


def test_the_request_for_a_cluster_of_one_engine_is_carried_out_at_once(
    forge: Cluster, new_fake: NewFake, submit: Submit, acme: Organization
) -> None:
    engine = new_fake("forge")
    connections.connect(forge, actor="olga", route=route_to("forge"))
    submit(gpu=1)
    cycle(acme)

    reconcile_cluster(forge.pk)

    assert len(engine.running) == 1


def test_a_connection_that_is_gone_is_not_reconciled(rack: Cluster, rigs: Rigs) -> None:
    engine = on(rack, "gpu-2")
    connections.disconnect(rack, actor="olga", node="gpu-2")

    reconcile_engine(engine.wakeup[1])

    assert rigs["gpu-2"].starts == []
    assert engine.refreshed() is None


@pytest.fixture
def hung(rack: Cluster, rigs: Rigs) -> Iterator[Signal]:
    """Occupy gpu-1's engine until the signal is set."""
    busy, go_on = Signal(), Signal()

    def occupy() -> None:
        try:
            with exclusive_access(on(rack, "gpu-1")):
                busy.set()
                go_on.wait(20)
        finally:
            databases.close_all()

    with ThreadPoolExecutor() as pool:
        done = pool.submit(occupy)
        assert busy.wait(10)
        yield go_on
        go_on.set()
        done.result(10)


def test_an_engine_that_hangs_delays_no_other(
    rack: Cluster, rigs: Rigs, put: Submit, hung: Signal
) -> None:
    first, second = put("gpu-1"), put("gpu-2")

    reconcile(rack.pk)
    reconcile(rack.pk)

    assert (fresh(first).status, fresh(second).status) == (Status.STARTING, Status.RUNNING)
    hung.set()
    with exclusive_access(on(rack, "gpu-1")):
        pass
    reconcile(rack.pk)
    reconcile(rack.pk)
    assert fresh(first).status == Status.RUNNING


def test_what_locks_a_cluster_as_a_whole_waits_for_each_of_its_engines(
    rack: Cluster, rigs: Rigs, hung: Signal
) -> None:
    whole, calls = Engine(rack), []

    def called() -> bool:
        calls.append(1)
        return False

    one_at_a_time(whole, called)
    assert calls == []

    hung.set()
    with exclusive_access(whole):
        one_at_a_time(whole, called)
        assert calls == []
    one_at_a_time(whole, called)
    assert calls == [1]


def test_a_deployment_can_be_stopped_on_each_engine(rack: Cluster, rigs: Rigs, put: Submit) -> None:
    rows = [put("gpu-1"), put("gpu-2")]
    reconcile(rack.pk)
    for row in rows:
        services.stop(row, actor="bob")

    reconcile(rack.pk)

    assert {fresh(row).status for row in rows} == {Status.STOPPED}
    assert [rig.by_uid for rig in rigs.values()] == [{}, {}]
