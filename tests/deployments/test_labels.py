"""The labels of deployments: what is accepted, how they change, and how lists filter by them."""

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from rest_framework.test import APIClient

from accounts.models import User
from clusters.models import Cluster
from deployments import labels
from deployments.choices import Status
from deployments.models import Deployment
from orgs.models import Event
from tests.fixtures.deployments import Bring, Submit
from tests.fixtures.people import ClientFor
from tests.support.answers import attrs, ids, refusal

BODY = {"name": "train", "image": "pytorch", "cpu": 1, "ram_mib": 1024}


@pytest.fixture
def api(bob: User, forge: Cluster, client_for: ClientFor) -> APIClient:
    return client_for(bob)


@pytest.fixture
def labelled(forge: Cluster, submit: Submit) -> list[Deployment]:
    """Four deployments of two teams and two runs; the last has no label."""
    return [
        submit(labels={"team": "vision", "run": "42"}),
        submit(labels={"team": "vision", "run": "43"}),
        submit(labels={"team": "speech", "run": "42"}),
        submit(),
    ]


def test_labels_are_stored_and_in_every_response(api: APIClient) -> None:
    given = {"team": "vision", "example.org/run": "", "X": "a.b_c-D"}
    rows: list[dict[str, Any]] = [BODY | {"labels": given}, BODY]

    single = api.post("/deployments", rows[0]).data
    several = api.post("/deployments/bulk", {"deployments": rows}).data["deployments"]

    assert [row["labels"] for row in (single, *several)] == [given, given, {}]
    assert api.get(f"/deployments/{single['id']}").data["labels"] == given
    assert api.get("/deployments").data["results"][1]["labels"] == given


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"-team": "vision"}, {"labels.-team"}),
        ({"team": "not valid", "run": 42, "ok": "1"}, {"labels.team", "labels.run"}),
        ({"team": None}, {"labels.team"}),
        ({"team": "x" * 64}, {"labels.team"}),
        ({f"n{n}": "" for n in range(labels.MAX_LABELS + 1)}, {"labels"}),
        (["team=vision"], {"labels"}),
    ],
)
def test_a_wrong_label_is_named(api: APIClient, given: Any, named: set[str]) -> None:
    assert attrs(api.post("/deployments", BODY | {"labels": given})) == named


def test_a_patch_replaces_all_labels_also_of_a_running_deployment(
    api: APIClient, bring: Bring
) -> None:
    running = bring(Status.RUNNING, labels={"team": "vision", "run": "42"})

    changed = api.patch(f"/deployments/{running.pk}", {"labels": {"run": "43"}})

    assert changed.data["labels"] == {"run": "43"}
    assert Deployment.objects.get(pk=running.pk).revision == running.revision
    event = Event.objects.get(subject_id=running.pk, kind="updated")
    assert event.data == {"labels": [{"team": "vision", "run": "42"}, {"run": "43"}]}
    api.patch(f"/deployments/{running.pk}", {"name": "renamed"})
    assert Deployment.objects.get(pk=running.pk).labels == {"run": "43"}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("label=team=vision", [1, 0]),
        ("label=team=vision&label=run=42", [0]),
        ("label=run=42&label=run=43&label=team=vision", [1, 0]),
        ("label=team", [2, 1, 0]),
        ("label=team=vision&label=nowhere", []),
        ("label=team=vis", []),
    ],
)
def test_a_list_is_filtered_by_labels(
    api: APIClient, labelled: list[Deployment], query: str, expected: list[int]
) -> None:
    assert ids(api.get(f"/deployments?{query}")) == [labelled[n].pk for n in expected]


@pytest.mark.parametrize("text", ["=vision", "team=a=b", "te am", "team=%s", ""])
def test_a_wrong_filter_is_refused(api: APIClient, text: str) -> None:
    error = refusal(api.get("/deployments", {"label": text}), 400)
    assert (error["attr"], error["code"]) == ("label", "invalid")


def test_a_filter_by_labels_uses_their_index(labelled: list[Deployment]) -> None:
    rows = Deployment.objects.filter(labels.condition([labels.wanted("run=42")])).order_by()

    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        plan = rows.explain()

    assert "deployment_labels" in plan


def test_operators_see_labels_and_filter_by_them(
    labelled: list[Deployment], console: Client
) -> None:
    path = "/admin/deployments/deployment/"

    found = console.get(path, {"label": "team=vision, run=42"})
    assert [row.pk for row in found.context["cl"].result_list] == [labelled[0].pk]
    assert "is not a label" in console.get(path, {"label": "-"}).content.decode()
    page = console.get(f"{path}{labelled[0].pk}/change/").content.decode()
    assert "?label=team%3Dvision" in page
