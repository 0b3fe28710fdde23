"""Every call of the OpenAPI document is carried out as its examples show, and refused."""

from dataclasses import dataclass
from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts.models import User
from clusters import nodes
from clusters.capacity import Capacity
from clusters.models import Cluster
from clusters.nodes import NodeSpec
from deployments.arrays.elements import ArraySpec
from deployments.bulk import Entry, submit_many
from deployments.choices import Status
from deployments.notices import services as notices
from deployments.registries import services as registries
from deployments.specs import Spec
from orgs.models import Organization, Role
from orgs.service_accounts import services as service_accounts
from orgs.webhooks import services as webhooks
from tests.fixtures.deployments import Bring
from tests.fixtures.people import ClientFor
from tests.support.factories import PASSWORD
from tests.support.openapi import JSON, Call, calls, check_answer, examples, named, problems
from tests.support.reconcile import reconcile
from tests.support.routes import filled_in
from tests.support.tables import contents
from tests.support.tokens import token_of

pytestmark = pytest.mark.django_db

HOOK = "https://hooks.example.org"
PUBLIC = {"register", "log_in", "refresh_tokens"}
"""The calls without a token."""

NEEDS = {
    "replace_deployment": Status.PENDING,
    "update_deployment": Status.PENDING,
    "delete_deployment": Status.STOPPED,
    "cancel_deployment": Status.PENDING,
    "hold_deployment": Status.PENDING,
    "release_deployment": Status.PENDING,
    "start_deployment": Status.STOPPED,
    "explain_deployment": Status.PENDING,
    "read_deployment_logs": Status.STARTING,
}
"""The status of the deployment that a call is made for, if it is not running."""

QUERIES = dict.fromkeys(
    (
        "cancel_deployments", "stop_deployments", "start_deployments", "hold_deployments",
        "release_deployments", "reprioritize_deployments",
    ),
    "?all=true",
)  # fmt: skip
"""What a call needs in its query string."""

OWN_FIELDS = {
    "register": {"username", "password"},
    "create_registry": {"username", "password"},
    "replace_registry": {"username", "password"},
    "update_registry": {"username", "password"},
}
"""The fields whose example is sent as it is, although other calls have to name a row by them."""


@dataclass
class World:
    """Rows of Acme that calls can be made for."""

    acme: Organization
    alice: User
    bob: User
    forge: Cluster
    bring: Bring

    def path(self, call: Call) -> str:
        """Return the call's path with the ids of rows for which it succeeds."""
        ids = {"organizations": self.acme.pk, "clusters": self.forge.pk, "user": self.bob.pk}
        first = call.path.split("/")[1]
        if call.name == "delete_node":
            spec = NodeSpec("spare", Capacity(1000, 1024, 0))
            ids["nodes"] = nodes.add(self.forge, actor="alice", spec=spec).pk
        else:
            ids["nodes"] = self.forge.nodes.get().pk
        if first == "deployments":
            ids[first] = self.bring(NEEDS.get(call.name, Status.RUNNING)).pk
        if first == "arrays":
            ids[first] = array_of(self.acme, self.bob)
        if call.name == "read_deployment_logs":
            reconcile(self.forge.pk)
        if first == "registries" and "{" in call.path:
            ids[first] = self._registry()
        if "service-accounts/" in call.path:
            ids["service-accounts"] = service_accounts.create(
                self.acme, by=self.alice, name="ci", role=Role.DEVELOPER
            ).pk
        if first == "tokens" and "{" in call.path:
            ids[first] = token_of(self.alice)[0].pk
        if first == "webhooks" and "{" in call.path:
            webhook, _ = webhooks.add(self.acme, by=self.alice, url="https://hooks.example.org")
            ids[first] = webhook.pk
            rows = webhook.deliveries
            ids["deliveries"] = rows.create(number=1, kind="placed", status="failed").pk
        if first == "notices" and "{" in call.path:
            rule, _ = notices.add(
                by=self.alice, user=None, organization=self.acme, channel="slack", url=HOOK
            )
            ids[first] = rule.pk
        path = filled_in(call.path.replace("{id}", "{pk}"), ids)
        return path + QUERIES.get(call.name, "")

    def body(self, call: Call) -> Any:
        """Return the example of the call's body, with the ids, names and codes of this world."""
        if call.body is None:
            return None
        (example,) = examples(call.body)
        own = OWN_FIELDS.get(call.name, ())
        return {
            field: value if field in own else self._known(field, value)
            for field, value in example.items()
        }

    def _known(self, field: str, value: Any) -> Any:
        if field == "refresh_token":
            log_in = {"username": "alice", "password": PASSWORD}
            return APIClient().post("/token", log_in).json()["refresh_token"]
        return {
            "from_user": self.bob.pk,
            "to_user": self.alice.pk,
            "invite_code": self.acme.invite_code,
            "username": "alice",
            "password": PASSWORD,
        }.get(field, value)

    def _registry(self) -> int:
        return registries.add(
            actor="alice",
            organization=self.acme,
            host="registry.example.org",
            username="ci",
            password="hunter2",
        ).pk


@pytest.fixture
def world(acme: Organization, alice: User, bob: User, forge: Cluster, bring: Bring) -> World:
    alice.set_password(PASSWORD)
    alice.save()
    return World(acme, alice, bob, forge, bring)


def array_of(organization: Organization, user: User) -> int:
    spec = Spec(name="sweep", image="busybox", cpu_milli=100, ram_mib=64)
    entry = Entry(organization, spec, array=ArraySpec(size=2, at_once=1))
    (first,) = submit_many(created_by=user, entries=[entry])
    return int(first.array_id or 0)


def carried_out(call: Call, client: APIClient, path: str, body: Any) -> Any:
    send = getattr(client, call.method.lower())
    return send(path) if body is None else send(path, body, format="json")


@pytest.mark.parametrize("call", calls(), ids=named)
def test_a_call_accepts_its_example_and_answers_as_described(
    call: Call, world: World, charlie: User, client_for: ClientFor
) -> None:
    strangers = ("join_organization", "delete_me")
    caller = charlie if call.name in strangers else world.alice
    client = APIClient() if call.name in PUBLIC else client_for(caller)

    response = carried_out(call, client, world.path(call), world.body(call))

    assert 200 <= response.status_code < 300, (
        f"{call} refuses its example: {response.content!r}. Correct the `example` of its"
        " serializer, or add what the call needs to NEEDS, QUERIES or World in this file."
    )
    check_answer(call, response)


@pytest.mark.parametrize("call", [each for each in calls() if each.can_be_tried], ids=named)
def test_a_dry_run_answers_as_described_and_stores_nothing(
    call: Call, world: World, client_for: ClientFor, django_capture_on_commit_callbacks: Any
) -> None:
    client, path, body = client_for(world.alice), world.path(call), world.body(call)
    if call.method == "POST":
        client.credentials(HTTP_IDEMPOTENCY_KEY="k")
    path += "&dry_run=true" if "?" in path else "?dry_run=true"
    before = contents()

    with django_capture_on_commit_callbacks() as requests:
        response = carried_out(call, client, path, body)

    assert response.status_code == 200, response.content
    assert call.name == "submit_deployment" or "preview" in response.json()
    check_answer(call, response)
    assert contents() == before
    assert requests == []


def test_the_dry_run_of_an_array_answers_as_described(world: World, client_for: ClientFor) -> None:
    (call,) = (each for each in calls() if each.name == "submit_deployment")
    body = world.body(call) | {"array": {"size": 12, "at_once": 2}}

    response = carried_out(call, client_for(world.alice), f"{call.path}?dry_run=true", body)

    assert response.json()["array"]["size"] == 12
    check_answer(call, response)


def test_every_change_of_deployments_clusters_and_nodes_can_be_tried() -> None:
    changes = {
        call.name
        for call in calls()
        if call.method != "GET" and call.path.split("/")[1] in ("deployments", "arrays", "clusters")
    }

    assert changes == {call.name for call in calls() if call.can_be_tried}


@pytest.mark.parametrize("call", calls(), ids=named)
def test_a_call_is_refused_as_described(
    call: Call, world: World, client_for: ClientFor, settings: Any
) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 2000
    client, path = client_for(world.alice), world.path(call)
    method, sep = call.method, "&" if "?" in path else "?"
    refusals = {
        400: client.generic(method, f"{path}{sep}unknown=1"),
        406: client.generic(method, path, headers={"Accept": "image/png"}),
    }
    if call.name not in PUBLIC:
        refusals[401] = APIClient().generic(method, path)
    if call.body:
        refusals[413] = client.generic(method, path, '{"name": "' + 2000 * "x" + '"}', JSON)
        refusals[415] = client.generic(method, path, "name", "text/plain")

    for status, response in refusals.items():
        assert response.status_code == status, (str(call), response.content)
        check_answer(call, response)


@pytest.mark.parametrize("call", [each for each in calls() if each.body], ids=named)
def test_a_call_refuses_another_body_as_described(
    call: Call, world: World, client_for: ClientFor
) -> None:
    client, path = client_for(world.alice), world.path(call)
    (example,) = examples(call.body)
    is_closed = call.name != "log_in"  # OAuth's password grant has other fields, which are ignored.

    bodies = [{**example, "unknown": 1}] if is_closed else []
    texts = [field for field, value in example.items() if isinstance(value, str) and is_closed]
    bodies += [{**example, field: 7} for field in texts if field not in ("cpu", "ram_mib")]
    for body in ([], "text", 1, *bodies):
        wrong = problems(body, call.body["schema"])
        assert wrong, f"The schema of {call} allows {body}: derive its serializer from Strict…."
        response = carried_out(call, client, path, body)
        assert response.status_code == 400, (
            f"{call} accepts {body}: derive its serializer from Strict…, and its texts from"
            " TextSerializerField."
        )
        check_answer(call, response)


@pytest.mark.parametrize("call", calls(), ids=named)
def test_a_call_has_true_examples(call: Call) -> None:
    described = [("body", call.body)] if call.body else []
    for status, response in call.responses.items():
        described += [(status, each) for each in response.get("content", {}).values()]

    for what, media_type in described:
        given = list(examples(media_type))
        assert given, (
            f"{call} has no example of its {what}: give its serializer an `example`"
            " (hypervisor/rest/schemas.py)."
        )
        for each in given:
            wrong = problems(each, media_type["schema"])
            assert not wrong, f"{call}, the example of its {what}: {wrong}. Correct it."
