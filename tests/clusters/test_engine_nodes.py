"""The nodes that an engine reports, kept as rows next to what people choose."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from accounts.models import User
from clusters import engine_nodes, node_states, nodes
from clusters.capacity import Capacity
from clusters.drivers.base import NodeReport, NodeState
from clusters.models import Cluster, Connection, Node
from clusters.nodes import NodeSpec
from deployments import lifecycle
from deployments.lifecycle import Change, transition
from deployments.runtime import closing
from hypervisor.base.errors import Conflict
from orgs.models import Event
from scheduling.insight.verify import violations
from tests.fixtures.deployments import Submit
from tests.fixtures.people import ClientFor
from tests.support.answers import refusal

pytestmark = pytest.mark.django_db

ACTOR = "system:runtime"
A = NodeReport("a", 4000, 8192, 2, labels={"zone": "x"})
B = NodeReport("b", 4000, 8192, 2)


@pytest.fixture
def forge(forge: Cluster) -> Cluster:
    """Forge, connected to an engine."""
    Connection.objects.create(
        cluster=forge, endpoint="somewhere", engine_id="one", probed_at=timezone.now()
    )
    return forge


def sync(cluster: Cluster, *reports: NodeReport, at: datetime | None = None) -> None:
    engine_nodes.sync(cluster, reports, actor=ACTOR, now=at or timezone.now())
    assert list(violations()) == []


def states(cluster: Cluster) -> dict[str, str]:
    return dict(cluster.nodes.order_by("name").values_list("name", "state"))


def kinds(cluster: Cluster) -> list[str]:
    rows = Event.objects.filter(subject="cluster", subject_id=cluster.pk, actor=ACTOR)
    return list(rows.order_by("pk").values_list("kind", flat=True))


def report(node: NodeReport, **changes: Any) -> NodeReport:
    fields = {name: getattr(node, name) for name in NodeReport.__dataclass_fields__}
    return NodeReport(**fields | changes)


def test_the_reported_nodes_replace_those_that_people_gave(forge: Cluster) -> None:
    sync(forge, A, B)

    forge.refresh_from_db()
    assert states(forge) == {"a": "active", "b": "active"}
    assert Capacity.of(forge) == Capacity(8000, 16384, 4)
    assert forge.nodes.get(name="a").labels == {"zone": "x"}
    assert kinds(forge) == ["node_added", "node_added", "node_deleted"]


def test_what_has_not_changed_writes_nothing(
    forge: Cluster, django_assert_num_queries: Any
) -> None:
    sync(forge, A, B)

    with django_assert_num_queries(2):
        engine_nodes.sync(forge, [A, B], actor=ACTOR, now=timezone.now())


def test_a_node_that_was_resized_and_relabelled_is_recorded(forge: Cluster) -> None:
    sync(forge, A, B)

    sync(forge, report(A, gpu=4, labels={"zone": "y"}), B)

    node = forge.nodes.get(name="a")
    assert (node.gpu, node.labels) == (4, {"zone": "y"})
    event = Event.objects.get(kind="node_updated")
    assert event.data["capacity"][1]["gpu"] == 4
    assert event.data["labels"] == [{"zone": "x"}, {"zone": "y"}]


def test_what_others_use_changes_the_capacity_without_an_event(forge: Cluster) -> None:
    sync(forge, A, B)
    before = kinds(forge)

    sync(forge, report(A, cpu_milli=0, gpu=1, foreign=(4000, 0, 1)), B)

    node = forge.nodes.get(name="a")
    assert Capacity.of(node) == Capacity(1, 8192, 1)
    assert node.foreign == {"cpu_milli": 3999, "ram_mib": 0, "gpu": 1}
    assert kinds(forge) == before


def test_states_of_the_engine_and_of_people_are_kept_apart(forge: Cluster) -> None:
    sync(forge, A, B)
    nodes.cordon(forge.nodes.get(name="a"), actor="alice")

    silent = [report(node, state=NodeState.LOST, message="It is not ready.") for node in (A, B)]
    sync(forge, *silent)
    assert states(forge) == {"a": "lost", "b": "lost"}

    sync(forge, A, B)
    assert states(forge) == {"a": "cordoned", "b": "active"}
    assert kinds(forge)[-4:] == ["node_lost", "node_lost", "node_cordoned", "node_active"]


def test_a_cordon_of_the_engine_ends_only_there(forge: Cluster) -> None:
    message = "It is cordoned in Kubernetes."
    sync(forge, report(A, state=NodeState.CORDONED, message=message), B)
    node = forge.nodes.get(name="a")

    with pytest.raises(Conflict, match=message):
        nodes.uncordon(node, actor="alice")
    nodes.drain(node, actor="alice")
    assert states(forge)["a"] == "draining"
    sync(forge, A, B)
    assert states(forge)["a"] == "draining"
    nodes.uncordon(node, actor="alice")
    assert states(forge)["a"] == "active"


def test_a_node_that_is_gone_is_lost_until_nothing_is_on_it(forge: Cluster, submit: Submit) -> None:
    sync(forge, A, B)
    deployment, now = submit(), timezone.now()
    there = Change(deployment.pk, "", cluster=forge.pk, node=forge.nodes.get(name="a").pk)
    transition(lifecycle.PLACE, [there], actor=ACTOR, now=now)

    sync(forge, B)
    meanwhile = states(forge)
    sync(forge, B)
    transition(lifecycle.REQUEUE, [there], actor=ACTOR, now=now)
    closing.close(list(deployment.runs.values_list("pk", flat=True)), actor=ACTOR, now=now)
    sync(forge, B)

    assert meanwhile == {"a": "lost", "b": "active"}
    assert states(forge) == {"b": "active"}
    assert kinds(forge)[-2:] == ["node_lost", "node_deleted"]


def test_an_engine_without_nodes_makes_all_of_them_lost(forge: Cluster) -> None:
    sync(forge, A, B)

    sync(forge)
    assert states(forge) == {"a": "lost", "b": "lost"}

    sync(forge, A)
    assert states(forge) == {"a": "active"}


def test_a_node_that_refused_a_container_gets_none_for_a_while(forge: Cluster) -> None:
    now = timezone.now()
    sync(forge, A, B)

    node = forge.nodes.get(name="a")
    engine_nodes.refused(node, "Too many Pods.", limits={}, actor=ACTOR, now=now)
    sync(forge, A, B, at=now + timedelta(minutes=4))
    meanwhile = states(forge)
    sync(forge, A, B, at=now + timedelta(minutes=6))

    assert meanwhile == {"a": "cordoned", "b": "active"}
    assert states(forge) == {"a": "active", "b": "active"}
    assert "Too many Pods." in Event.objects.get(kind="node_refused").reason


def test_a_node_that_lacked_something_has_less_of_it_for_a_while(forge: Cluster) -> None:
    now = timezone.now()
    sync(forge, A, B)

    node = forge.nodes.get(name="a")
    engine_nodes.refused(node, "Insufficient GPU.", limits={"gpu": 1}, actor=ACTOR, now=now)
    assert list(violations()) == []
    sync(forge, A, B, at=now + timedelta(minutes=4))
    node.refresh_from_db()
    meanwhile = node.gpu, node.foreign["gpu"], node.cpu_milli, node.state
    sync(forge, A, B, at=now + timedelta(minutes=6))

    node.refresh_from_db()
    assert meanwhile == (1, 1, 4000, "active")
    assert (node.gpu, node.foreign["gpu"]) == (2, 0)


def test_people_cannot_change_what_the_engine_reports(
    forge: Cluster, alice: User, client_for: ClientFor
) -> None:
    sync(forge, A, B)
    api: APIClient = client_for(alice)
    path = f"/clusters/{forge.pk}/nodes"
    one = f"{path}/{forge.nodes.get(name='a').pk}"

    calls = [
        api.post(path, {"name": "c", "cpu": 1, "ram_mib": 1}),
        api.patch(one, {"gpu": 9}),
        api.delete(one),
        api.patch(f"/clusters/{forge.pk}", {"gpu": 9}),
    ]

    assert {"those of its engine" in refusal(call, 409)["detail"] for call in calls} == {True}
    assert api.patch(one, {"gpu": 2}).status_code == 200
    assert api.get(one).data["foreign"] == {"cpu": 0, "ram_mib": 0, "gpu": 0}


def test_without_its_engine_the_nodes_are_people_s_again(forge: Cluster) -> None:
    sync(forge, report(A, state=NodeState.LOST, message="It is not ready."), B)

    Connection.objects.all().delete()
    node_states.forget_engines(forge)

    assert states(forge) == {"a": "active", "b": "active"}
    nodes.add(forge, actor="alice", spec=NodeSpec("c", Capacity(1, 1, 0)))
    assert Node.objects.filter(cluster=forge).count() == 3
