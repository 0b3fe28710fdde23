"""An operator moves deployments to other clusters."""

import pytest

from clusters import services as cluster_services
from clusters.capacity import Capacity
from clusters.models import Cluster, Node
from deployments import services
from deployments.choices import Status
from deployments.models import Deployment
from deployments.moves import move
from deployments.runtime.models import Run
from hypervisor.base.errors import Conflict, Invalid, NotFound
from orgs.models import Event, Organization
from scheduling.cycle.run import run_cycle
from scheduling.insight.verify import violations
from scheduling.models import SchedulingCycle
from tests.fixtures.deployments import Bring, Submit

pytestmark = pytest.mark.django_db


@pytest.fixture
def anvil(acme: Organization) -> Cluster:
    """A second cluster, of 4 cores, 8 GiB and no GPU."""
    return cluster_services.create(
        actor="alice", organization=acme, name="anvil", capacity=Capacity(4000, 8192, 0)
    )


def fill(cluster: Cluster, bring: Bring, priority: int) -> Deployment:
    """Place one deployment that fills a whole cluster."""
    everything = Capacity.of(cluster).columns()
    deployment = bring(Status.RUNNING, priority=priority, requested_cluster=cluster, **everything)
    Deployment.objects.filter(pk=deployment.pk).update(cluster=cluster)
    Run.objects.filter(deployment=deployment).update(cluster=cluster)
    deployment.refresh_from_db()
    return deployment


def last_event(deployment: Deployment) -> Event:
    return Event.objects.filter(subject="deployment", subject_id=deployment.pk).latest("pk")


def test_a_running_deployment_moves_at_once_to_free_capacity(bring: Bring, anvil: Cluster) -> None:
    deployment = bring(Status.RUNNING)
    events = Event.objects.count()

    moved = move(deployment, actor="olga", target=anvil)

    assert (moved.status, moved.cluster, moved.requested_cluster) == ("starting", anvil, anvil)
    assert Event.objects.count() == events + 1
    assert (last_event(moved).kind, last_event(moved).actor) == ("moved", "olga")
    assert list(moved.runs.values_list("outcome", flat=True)) == ["moved", ""]
    assert not moved.runs.exclude(preempted_by=None).exists()
    assert moved.preemptions == 0
    assert not list(violations())


def test_a_deployment_that_leaves_its_cluster_is_not_bound_to_the_next(
    bring: Bring, forge: Cluster, anvil: Cluster
) -> None:
    deployment = bring(Status.RUNNING, requested_cluster=forge)

    moved = move(deployment, actor="olga")

    assert (moved.cluster, moved.requested_cluster) == (anvil, None)
    assert not list(violations())


def test_the_cluster_with_the_tightest_fit_is_chosen(
    bring: Bring, acme: Organization, anvil: Cluster
) -> None:
    for name, gpu in (("gpus", 8), ("tight", 0)):
        cluster_services.create(
            actor="alice", organization=acme, name=name, capacity=Capacity(2000, 2048, gpu)
        )

    moved = move(bring(Status.RUNNING), actor="olga")

    assert moved.cluster is not None
    assert moved.cluster.name == "tight"


def test_a_deployment_stays_if_no_other_cluster_has_enough_free(
    bring: Bring, anvil: Cluster
) -> None:
    cluster_services.cordon(anvil, actor="olga")
    deployment = bring(Status.RUNNING)

    with pytest.raises(Conflict, match="no other cluster has that free"):
        move(deployment, actor="olga")

    deployment.refresh_from_db()
    assert deployment.status == Status.RUNNING


def test_a_move_to_a_full_cluster_preempts_lower_deployments(
    bring: Bring, acme: Organization, anvil: Cluster
) -> None:
    lower = fill(anvil, bring, priority=10)
    deployment = bring(Status.RUNNING, priority=50)

    moved = move(deployment, actor="olga", target=anvil)
    run_cycle(acme.pk, SchedulingCycle.Trigger.CHANGE)

    assert (moved.status, last_event(moved).kind) == ("pending", "placed")
    moved.refresh_from_db()
    lower.refresh_from_db()
    assert moved.cluster == anvil
    assert lower.status == Status.PENDING
    assert not list(violations())


def test_a_move_to_a_cluster_full_of_higher_deployments_waits(
    bring: Bring, acme: Organization, anvil: Cluster
) -> None:
    fill(anvil, bring, priority=90)
    deployment = bring(Status.RUNNING, priority=50)

    moved = move(deployment, actor="olga", target=anvil)
    run_cycle(acme.pk, SchedulingCycle.Trigger.CHANGE)

    moved.refresh_from_db()
    assert (moved.status, moved.requested_cluster) == ("pending", anvil)


def test_a_pending_deployment_competes_for_its_new_cluster(
    submit: Submit, forge: Cluster, anvil: Cluster
) -> None:
    deployment = submit(requested_cluster=forge)

    bound = move(deployment, actor="olga", target=anvil)
    free = move(bound, actor="olga")

    assert (bound.requested_cluster, free.requested_cluster) == (anvil, None)
    kinds = Event.objects.filter(subject="deployment").values_list("kind", "actor")
    assert list(kinds.order_by("pk"))[1:] == [("updated", "olga")] * 2


def test_a_deployment_cannot_be_moved_to_its_own_cluster(
    bring: Bring, submit: Submit, forge: Cluster
) -> None:
    running, pending = bring(Status.RUNNING), submit(requested_cluster=forge)

    for deployment in (running, pending):
        with pytest.raises(Conflict, match="already"):
            move(deployment, actor="olga", target=forge)


def test_a_deployment_cannot_be_moved_to_a_cluster_that_could_never_hold_it(
    bring: Bring, anvil: Cluster
) -> None:
    for deployment in (bring(Status.RUNNING, gpu=1), bring(Status.PENDING, gpu=1)):
        with pytest.raises(Invalid, match="can ever hold"):
            move(deployment, actor="olga", target=anvil)


def test_a_deployment_cannot_be_moved_to_a_cordoned_or_draining_cluster(
    bring: Bring, anvil: Cluster
) -> None:
    cluster_services.cordon(anvil, actor="olga")

    with pytest.raises(Conflict, match="anvil is cordoned"):
        move(bring(Status.RUNNING), actor="olga", target=anvil)


def test_a_deployment_cannot_be_moved_to_a_cluster_of_another_organization(
    bring: Bring, globex_cluster: Cluster
) -> None:
    for status in (Status.RUNNING, Status.PENDING):
        with pytest.raises((NotFound, Invalid)):
            move(bring(status), actor="olga", target=globex_cluster)


def test_an_ended_deployment_cannot_be_moved(bring: Bring, anvil: Cluster) -> None:
    with pytest.raises(Conflict, match="only a pending, starting or running deployment"):
        move(bring(Status.FAILED), actor="olga", target=anvil)


def test_moving_a_deployment_that_has_just_been_deleted_is_an_error(
    bring: Bring, anvil: Cluster
) -> None:
    deployment = bring(Status.PENDING)
    stale = Deployment.objects.get(pk=deployment.pk)
    services.delete(deployment, actor="bob")

    with pytest.raises(NotFound):
        move(stale, actor="olga", target=anvil)


def test_an_active_deployment_moves_to_another_node_of_its_cluster(
    rack: Cluster, acme: Organization, submit: Submit
) -> None:
    deployment = submit(gpu=2, requested_cluster=rack)
    run_cycle(acme.pk, SchedulingCycle.Trigger.CHANGE)
    deployment.refresh_from_db()
    (other,) = [node for node in rack.nodes.all() if node != deployment.node]

    moved = move(deployment, actor="olga", target=other)

    assert (moved.status, moved.node, moved.requested_cluster) == ("starting", other, rack)
    event = last_event(moved)
    assert event.reason == f"Moved by olga to {other.name} of rack, which has enough free capacity."
    assert (event.data["node"], event.data["from_node"]) == (other.pk, deployment.node_id)
    assert not list(violations())


def test_a_move_to_a_node_binds_to_nothing(bring: Bring, rack: Cluster) -> None:
    node = rack.nodes.all()[1]

    moved = move(bring(Status.RUNNING), actor="olga", target=node)

    assert (moved.node, moved.requested_cluster) == (node, None)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"gpu": 1}, r"needs 1 CPU, 1 GiB RAM, 2 GPU free \(it has 4 CPU, 8 GiB RAM, 1 GPU\)"),
        ({"state": "cordoned"}, "to be active"),
        ({"labels": {"zone": "b"}}, "the labels that the deployment requires"),
    ],
)
def test_a_move_to_a_node_that_cannot_take_it_is_refused(
    bring: Bring, rack: Cluster, change: dict[str, object], reason: str
) -> None:
    rack.nodes.update(labels={"zone": "a"})
    deployment = bring(Status.RUNNING, gpu=2, require={"zone": ["a"]})
    node = rack.nodes.all()[0]
    Node.objects.filter(pk=node.pk).update(**change)

    with pytest.raises(Conflict, match=reason):
        move(deployment, actor="olga", target=node)

    deployment.refresh_from_db()
    assert deployment.status == Status.RUNNING


def test_a_move_to_a_node_is_refused_where_the_deployment_may_not_be(
    bring: Bring, submit: Submit, rack: Cluster, forge: Cluster
) -> None:
    node = rack.nodes.all()[0]
    bound, there = bring(Status.RUNNING, requested_cluster=forge), bring(Status.RUNNING)

    with pytest.raises(Conflict, match="may run only on forge"):
        move(bound, actor="olga", target=node)
    with pytest.raises(Conflict, match="already on forge"):
        move(there, actor="olga", target=forge.nodes.get())
    with pytest.raises(Conflict, match="only an active one can be moved to a node"):
        move(submit(), actor="olga", target=node)
