"""How places are named, everywhere by the same rule."""

import pytest
from django.test import Client
from django.urls import reverse

from clusters import nodes, services
from clusters.capacity import Capacity
from clusters.models import Cluster
from clusters.nodes import NodeSpec
from clusters.places import Places
from deployments import moves
from deployments.choices import Status
from deployments.models import Deployment
from orgs.models import Organization
from scheduling.cycle.run import run_cycle
from scheduling.cycle.snapshot import load
from scheduling.models import SchedulingCycle
from tests.fixtures.deployments import Submit
from tests.support.reconcile import reconcile

pytestmark = pytest.mark.django_db

SMALL = Capacity(1000, 1024, 0)


def names(cluster: Cluster) -> list[str]:
    rows = list(cluster.nodes.all())
    places = Places.of_nodes(rows)
    return [places.of_node(node) for node in rows]


def run(deployment: Deployment) -> None:
    run_cycle(deployment.organization_id, SchedulingCycle.Trigger.CHANGE)
    reconcile(deployment.cluster_id or Cluster.objects.get().pk)
    deployment.refresh_from_db()


def test_the_only_node_is_called_like_its_cluster_whatever_its_own_name(forge: Cluster) -> None:
    services.update(forge, actor="alice", name="anvil", capacity=Capacity.of(forge))

    assert names(forge) == ["anvil"]
    assert forge.nodes.get().name == "forge"


def test_of_several_nodes_each_is_named_even_if_one_is_named_like_the_cluster(
    forge: Cluster,
) -> None:
    nodes.add(forge, actor="alice", spec=NodeSpec("more", SMALL))

    assert names(forge) == ["forge of forge", "more of forge"]


def test_a_place_that_is_gone_has_no_name_and_a_node_that_is_gone_has_its_cluster_s(
    rack: Cluster,
) -> None:
    assert Places.named([(None, None), (4711, 1)]).name(4711, 1) == ""
    assert Places.named([(rack.pk, 4711)]).name(rack.pk, 4711) == "rack"


def test_the_planner_names_places_by_the_same_rule(
    acme: Organization, rack: Cluster, forge: Cluster
) -> None:
    services.update(forge, actor="alice", name="anvil", capacity=Capacity.of(forge))
    snapshot = load(acme.pk, lock=False).snapshot

    places = Places.named(bin_.place for bin_ in snapshot.bins)

    assert {bin_.place: bin_.label for bin_ in snapshot.bins} == {
        bin_.place: places.name(*bin_.place) for bin_ in snapshot.bins
    }
    assert len(snapshot.bins) == 3


def test_a_deployment_names_its_node_wherever_it_is_shown(
    console: Client, rack: Cluster, submit: Submit
) -> None:
    job = submit(gpu=1)
    run(job)
    assert job.node is not None
    place = f"{job.node.name} of rack"

    pages = [
        console.get(reverse("queue"), {"group": "placed"}),
        console.get(reverse("admin:deployments_deployment_change", args=[job.pk])),
    ]

    assert (job.status, job.status_reason) == (Status.RUNNING, f"Runs on {place}.")
    assert [place in page.content.decode() for page in pages] == [True, True]

    other = rack.nodes.exclude(pk=job.node.pk).get()
    moved = moves.move(job, actor="olga", target=other)
    assert moved.status_reason.startswith(f"Moved by olga to {other.name} of rack")


def test_a_deployment_on_a_renamed_cluster_names_the_cluster(
    console: Client, forge: Cluster, submit: Submit
) -> None:
    job = submit(gpu=1)
    run(job)
    services.update(forge, actor="alice", name="anvil", capacity=Capacity.of(forge))

    page = console.get(reverse("queue"), {"group": "placed"}).content.decode()

    assert ">anvil</a>" in page
    assert "forge of anvil" not in page
