"""Which nodes a deployment may use: labels that it requires or prefers, over REST."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts.models import User
from clusters import services as cluster_services
from clusters.capacity import Capacity
from clusters.models import Cluster
from clusters.nodes import NodeSpec
from deployments.models import Deployment
from deployments.requirements import satisfied, sentences
from orgs.models import Organization
from scheduling.planner.requirements import requirements
from tests.fixtures.people import ClientFor
from tests.support.answers import attrs, refusal

BODY = {"name": "train", "image": "pytorch", "cpu": 1, "ram_mib": 1024}


@pytest.fixture
def rack(acme: Organization) -> Cluster:
    """A node of 4 GPUs in zone a, and one of 8 GPUs in zone b."""
    specs = [
        NodeSpec("small", Capacity(8000, 16384, 4), {"gpu.model": "l4", "zone": "a"}),
        NodeSpec("large", Capacity(64000, 65536, 8), {"gpu.model": "h100", "zone": "b"}),
    ]
    return cluster_services.create(actor="alice", organization=acme, name="rack", specs=specs)


@pytest.fixture
def api(bob: User, rack: Cluster, client_for: ClientFor) -> APIClient:
    return client_for(bob)


@pytest.mark.parametrize(
    ("require", "labels", "holds"),
    [
        ({}, {}, True),
        ({"zone": ["a", "b"]}, {"zone": "b"}, True),
        ({"zone": ["a", "b"]}, {"zone": "c"}, False),
        ({"zone": ["a"]}, {}, False),
        ({"zone": {"not": ["a"]}}, {"zone": "b"}, True),
        ({"zone": {"not": ["a"]}}, {"zone": "a"}, False),
        ({"zone": {"not": ["a"]}}, {}, True),
        ({"zone": {"exists": True}}, {"zone": ""}, True),
        ({"zone": {"exists": True}}, {}, False),
        ({"zone": {"exists": False}}, {}, True),
        ({"zone": {"exists": False}}, {"zone": "a"}, False),
        ({"zone": ["a"], "spot": {"exists": False}}, {"zone": "a", "spot": "true"}, False),
    ],
)
def test_every_condition_has_to_hold(
    require: dict[str, Any], labels: dict[str, str], holds: bool
) -> None:
    assert satisfied(require, labels) is holds


def test_requirements_are_stored_and_returned_as_sent(api: APIClient) -> None:
    sent = {
        "require": {
            "gpu.model": ["l4", "h100"],
            "spot": {"not": ["true"]},
            "zone": {"exists": True},
        },
        "prefer": {"zone": {"in": ["a"], "weight": 5}, "gpu.model": ["h100"]},
    }

    made = api.post("/deployments", BODY | sent).data

    assert {name: made[name] for name in sent} == sent
    row = Deployment.objects.get(pk=made["id"])
    assert (row.require, row.prefer) == (sent["require"], sent["prefer"])


@pytest.mark.parametrize(
    ("require", "attr"),
    [
        ({"zone": "a"}, "require.zone"),
        ({"zone": []}, "require.zone"),
        ({"zone": [1]}, "require.zone"),
        ({"zone": ["a b"]}, "require.zone"),
        ({"zone": {"not": "a"}}, "require.zone"),
        ({"zone": {"not": ["a"], "exists": True}}, "require.zone"),
        ({"zone": {"exists": "yes"}}, "require.zone"),
        ({"zone": {"in": ["a"]}}, "require.zone"),
        ({"zone": {"not": ["a"], "weight": 5}}, "require.zone"),
        ({"zone": {}}, "require.zone"),
        ({"zone": None}, "require.zone"),
        ({"zone": ["a"] * 65}, "require.zone"),
        ({"z one": ["a"]}, "require.z one"),
        (["zone"], "require"),
        (None, "require"),
        ({f"label-{n}": ["a"] for n in range(33)}, "require"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_wrong_requirement_is_named(api: APIClient, require: Any, attr: str) -> None:
    assert attrs(api.post("/deployments", BODY | {"require": require})) == {attr}


@pytest.mark.parametrize(
    "condition",
    [{"in": ["a"], "weight": 0}, {"in": ["a"], "weight": 101}, {"in": ["a"], "weight": True},
     {"in": ["a"], "weight": "5"}, {"weight": 5}, {"in": ["a"], "not": ["b"]}, "a"],
)  # fmt: skip
def test_a_wrong_preference_is_named(api: APIClient, condition: Any) -> None:
    assert attrs(api.post("/deployments", BODY | {"prefer": {"zone": condition}})) == {
        "prefer.zone"
    }


def test_a_requirement_that_no_node_satisfies_is_refused_with_the_labels_that_exist(
    api: APIClient,
) -> None:
    wanted = {"require": {"zone": ["a"], "gpu.model": ["a100", "v100"]}}

    error = refusal(api.post("/deployments", BODY | wanted), 400)

    assert (error["code"], error["attr"]) == ("unsatisfiable_requirement", "require.gpu.model")
    assert "satisfies: gpu.model is a100 or v100. " in error["detail"]
    assert "The labels of these nodes are: gpu.model (h100, l4), zone (a, b)." in error["detail"]


def test_an_empty_value_of_a_label_is_visible(api: APIClient, rack: Cluster) -> None:
    rack.nodes.filter(name="small").update(labels={"zone": ""})

    error = refusal(api.post("/deployments", BODY | {"require": {"spot": [""]}}), 400)

    assert 'satisfies: spot is "". ' in error["detail"]
    assert 'zone ("", b).' in error["detail"]
    assert str(requirements({"zone": ["", "a"]})[0]) == 'zone is "" or a'


def test_requirements_that_no_node_satisfies_together_are_refused(api: APIClient) -> None:
    wanted = {"require": {"zone": ["a"], "gpu.model": ["h100"]}}

    error = refusal(api.post("/deployments", BODY | wanted), 400)

    assert (error["code"], error["attr"]) == ("unsatisfiable_requirement", "require")
    assert "zone is a and gpu.model is h100" in error["detail"]


@pytest.mark.parametrize(
    ("wanted", "detail"),
    [
        ({"gpu": 9}, "large of rack has 64 CPU, 64 GiB RAM, 8 GPU; small of rack has 8 CPU"),
        ({"gpu": 5, "require": {"zone": ["a"]}}, ": small of rack has 8 CPU, 16 GiB RAM, 4 GPU."),
    ],
)
def test_a_request_that_no_single_node_can_ever_hold_is_refused(
    api: APIClient, wanted: dict[str, Any], detail: str
) -> None:
    error = refusal(api.post("/deployments", BODY | wanted), 400)
    in_bulk = refusal(api.post("/deployments/bulk", {"deployments": [BODY, BODY | wanted]}), 400)

    assert (error["code"], error["attr"]) == ("exceeds_capacity", "gpu")
    assert detail in error["detail"]
    assert (in_bulk["code"], in_bulk["attr"]) == ("exceeds_capacity", "deployments.1.gpu")
    assert not Deployment.objects.exists()


def test_a_pending_deployment_may_require_other_labels(api: APIClient) -> None:
    made = api.post("/deployments", BODY | {"require": {"zone": ["a"]}}).data
    address = f"/deployments/{made['id']}"

    changed = api.patch(address, {"require": {"zone": ["b"]}})
    refused = refusal(api.patch(address, {"require": {"zone": ["c"]}}), 400)

    assert changed.data["require"] == {"zone": ["b"]}
    assert refused["attr"] == "require.zone"
    events = api.get(f"{address}/events").data["results"]
    assert events[-1]["data"] == {"require": [{"zone": ["a"]}, {"zone": ["b"]}]}


def test_conditions_are_shown_in_words() -> None:
    prefer = {"zone": {"in": ["a", "b"], "weight": 5}, "spot": {"not": ["true"]}, "disk": ["ssd"]}

    assert sentences(prefer) == [
        "zone is a or b (weight 5)", "spot is not true", "disk is ssd",
    ]  # fmt: skip
    assert sentences({"gpu.model": {"exists": False}}) == ["gpu.model does not exist"]
