"""The nodes of an engine without contact are lost, and everything that says so agrees."""

import pytest
from django.test import Client

from accounts.models import User
from clusters import nodes
from clusters.models import Cluster
from orgs.models import Organization
from tests.fixtures.deployments import Submit
from tests.fixtures.people import ClientFor
from tests.support.fake_engine import FakeEngine
from tests.support.lost_nodes import lost_nodes, silent_for_a_minute
from tests.support.reconcile import reconcile

pytestmark = pytest.mark.django_db


def test_the_node_of_an_engine_that_is_silent_for_long_is_lost(
    foundry: Cluster, engine: FakeEngine, alice: User, client_for: ClientFor, console: Client
) -> None:
    api = client_for(alice)
    engine.is_down = True
    reconcile(foundry.pk)
    at_once = lost_nodes(foundry, api, console)

    silent_for_a_minute(foundry)
    later = lost_nodes(foundry, api, console)
    row = api.get(f"/clusters/{foundry.pk}/nodes").data["results"][0]
    cluster = api.get(f"/clusters/{foundry.pk}").data

    engine.is_down = False
    reconcile(foundry.pk)

    assert (at_once, later) == (set(), {"foundry"})
    assert "has not answered since" in row["engine_message"]
    assert cluster["largest_free"] == {"cpu": 0, "ram_mib": 0, "gpu": 0}
    assert lost_nodes(foundry, api, console) == set()


def test_only_the_node_of_the_silent_engine_of_several_is_lost(
    rack: Cluster, rigs: dict[str, FakeEngine], alice: User, client_for: ClientFor, console: Client
) -> None:
    rigs["gpu-1"].is_down = True

    silent_for_a_minute(rack)
    meanwhile = lost_nodes(rack, client_for(alice), console)
    rigs["gpu-1"].is_down = False
    reconcile(rack.pk)

    assert meanwhile == {"gpu-1"}
    assert lost_nodes(rack, client_for(alice), console) == set()


def test_a_choice_of_people_outlasts_the_loss(
    foundry: Cluster, engine: FakeEngine, acme: Organization, submit: Submit
) -> None:
    nodes.drain(foundry.nodes.get(), actor="olga")
    engine.is_down = True

    silent_for_a_minute(foundry)
    meanwhile = foundry.nodes.get().state
    engine.is_down = False
    reconcile(foundry.pk)

    assert (meanwhile, foundry.nodes.get().state) == ("lost", "draining")
