"""`run_as`: the user that the processes of a container run as."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from accounts.models import AuditEntry, User
from clusters.drivers.base import RunAs
from clusters.models import Cluster
from deployments.choices import Status
from deployments.models import Deployment
from orgs.models import Event
from scheduling.cycle.run import run_cycle
from scheduling.models import SchedulingCycle
from tests.fixtures.deployments import Bring, Submit
from tests.fixtures.people import ClientFor
from tests.support.answers import refusal
from tests.support.fake_engine import FakeEngine
from tests.support.reconcile import reconcile

pytestmark = pytest.mark.django_db

BODY = {"name": "train", "image": "pytorch", "cpu": 1, "ram_mib": 1024}
LARGEST = 2**31 - 1


@pytest.fixture
def api(bob: User, forge: Cluster, client_for: ClientFor) -> APIClient:
    return client_for(bob)


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        (1000, {"uid": 1000, "gid": None}),
        ({"uid": 1000}, {"uid": 1000, "gid": None}),
        ({"uid": 1000, "gid": 0}, {"uid": 1000, "gid": 0}),
        ({"uid": LARGEST, "gid": LARGEST}, {"uid": LARGEST, "gid": LARGEST}),
        (0, {"uid": 0, "gid": None}),
        (None, None),
    ],
)
def test_a_user_is_given_by_id_and_may_have_a_group(
    api: APIClient, sent: Any, answered: dict[str, Any] | None
) -> None:
    created = api.post("/deployments", BODY | {"run_as": sent})

    assert (created.status_code, created.data["run_as"]) == (201, answered)
    again = api.patch(f"/deployments/{created.data['id']}", {"run_as": created.data["run_as"]})
    assert again.data["run_as"] == answered
    assert not Event.objects.filter(kind="updated").exists()


@pytest.mark.parametrize(
    ("sent", "attr", "remedy"),
    [
        ("alice", "run_as", "Names are not accepted"),
        ([1000], "run_as", "Give the id of a user"),
        (True, "run_as", "Give the id of a user"),
        (-1, "run_as", f"from 0 to {LARGEST}"),
        (LARGEST + 1, "run_as", f"from 0 to {LARGEST}"),
        ({"gid": 1}, "run_as", "Give the id of a user"),
        ({"uid": 1, "name": "x"}, "run_as", "Give the id of a user"),
        ({"uid": LARGEST + 1}, "run_as.uid", f"from 0 to {LARGEST}"),
        ({"uid": None}, "run_as.uid", f"from 0 to {LARGEST}"),
        ({"uid": 1, "gid": "staff"}, "run_as.gid", f"from 0 to {LARGEST}"),
    ],
)
def test_a_wrong_user_is_refused_with_the_remedy(
    api: APIClient, sent: Any, attr: str, remedy: str
) -> None:
    error = refusal(api.post("/deployments", BODY | {"run_as": sent}), 400)

    assert error["attr"] == attr
    assert remedy in error["detail"]


def test_the_user_changes_only_while_it_is_pending(
    client_for: ClientFor, bob: User, bring: Bring
) -> None:
    pending, running = bring(Status.PENDING), bring(Status.RUNNING)
    api = client_for(bob)

    changed = api.patch(f"/deployments/{pending.pk}", {"run_as": 1000})
    refused = refusal(api.patch(f"/deployments/{running.pk}", {"run_as": 1000}), 409)

    assert changed.data["run_as"] == {"uid": 1000, "gid": None}
    assert "run_as can change only while it is pending" in refused["detail"]
    (entry,) = AuditEntry.objects.filter(model="deployments.deployment", operation="UPDATE")
    assert entry.after == {"run_as": {"uid": 1000, "gid": None}}
    event = Event.objects.get(kind="updated")
    assert event.data == {"run_as": [None, {"uid": 1000, "gid": None}]}


@pytest.mark.parametrize(
    ("run_as", "started"),
    [(None, None), ({"uid": 0, "gid": None}, RunAs(0)), ({"uid": 7, "gid": 8}, RunAs(7, 8))],
)
def test_the_engine_gets_the_user(
    foundry: Cluster, submit: Submit, engine: FakeEngine, run_as: Any, started: RunAs | None
) -> None:
    submit(run_as=run_as)

    run_cycle(foundry.organization_id, SchedulingCycle.Trigger.MANUAL)
    reconcile(foundry.pk)

    (container,) = engine.containers.values()
    assert container.spec.run_as == started


def test_operators_see_the_user(console: Client, forge: Cluster, submit: Submit) -> None:
    deployment: Deployment = submit(run_as={"uid": 1000, "gid": 50})
    page = reverse("admin:deployments_deployment_change", args=[deployment.pk])

    assert "user 1000, group 50" in console.get(page).content.decode()
    assert "1000" in console.get(f"{page}?edit").content.decode()
