"""The log-ins of an organization to registries: who may change them, and who sees what."""

from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.db import connection
from django.test import Client
from django.urls import reverse
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.models import AuditEntry, IdempotencyKey, User
from clusters.models import Cluster
from deployments.choices import Status
from deployments.models import Deployment, Registry
from deployments.registries import services
from orgs.models import Event, Membership, Organization, Role
from scheduling.cycle.run import run_cycle
from scheduling.models import SchedulingCycle
from tests.fixtures.deployments import MemberAs, Submit
from tests.fixtures.people import ClientFor
from tests.support.answers import refusal
from tests.support.fake_engine import FakeEngine
from tests.support.reconcile import reconcile

pytestmark = pytest.mark.django_db

PASSWORD = "hunter2-and-then-some"
BODY = {"host": "registry.example.org:5000", "username": "ci", "password": PASSWORD}


@pytest.fixture
def api(client_for: ClientFor, alice: User, acme: Organization) -> APIClient:
    return client_for(alice)


@pytest.fixture
def row(api: APIClient) -> Registry:
    return Registry.objects.get(pk=api.post("/registries", BODY).data["id"])


def test_a_response_has_no_password(api: APIClient, acme: Organization) -> None:
    created = api.post("/registries", BODY)

    assert created.status_code == 201
    assert set(created.data) == {
        "id", "organization", "host", "username", "created_at", "updated_at",
    }  # fmt: skip
    assert created.data["organization"] == acme.pk
    assert api.get(f"/registries/{created.data['id']}").data == created.data


def test_a_password_appears_nowhere(
    api: APIClient, console: Client, acme: Organization, capfd: pytest.CaptureFixture[str]
) -> None:
    pk = api.post("/registries", BODY, headers={"Idempotency-Key": "once"}).data["id"]
    shown = [
        api.patch(f"/registries/{pk}", {"password": f"{PASSWORD}!"}).content,
        api.get("/registries").content,
        console.get(reverse("admin:deployments_registry_change", args=[pk])).content,
        console.get(reverse("admin:deployments_registry_changelist")).content,
    ]
    with connection.cursor() as cursor:
        cursor.execute("SELECT r::text FROM deployments_registry r")
        shown += [str(cursor.fetchall())]
    shown += [str(list(m.objects.values())) for m in (Event, AuditEntry, IdempotencyKey)]
    shown += [*capfd.readouterr()]

    assert not [text for text in map(str, shown) if PASSWORD in text]
    changes = AuditEntry.objects.filter(model="deployments.registry", operation="UPDATE")
    assert [entry.after for entry in changes] == [{"password": "***"}]
    kinds = Event.objects.filter(kind__startswith="registry_").values_list("kind", flat=True)
    assert list(kinds) == ["registry_added", "registry_updated"]


@pytest.mark.parametrize(
    ("change", "attr", "remedy"),
    [
        ({"host": "https://ghcr.io"}, "host", "no https:// and no path"),
        ({"host": "ghcr.io/team"}, "host", "no https:// and no path"),
        ({"host": "team"}, "host", "has a dot or a port, or is localhost"),
        ({"host": "a b.org"}, "host", "malformed"),
        ({"username": "ci:x"}, "username", "colon"),
        ({"username": ""}, "username", "blank"),
        ({"password": " "}, "password", "not blank"),
        ({"password": "x" * 16385}, "password", "16384"),
        ({"pass": "x"}, "pass", "There is no such field"),
    ],
)
def test_a_wrong_field_is_named_with_the_remedy(
    api: APIClient, change: dict[str, str], attr: str, remedy: str
) -> None:
    answer = api.post("/registries", {**BODY, **change})

    assert answer.status_code == 400
    (error,) = answer.data["errors"]
    assert error["attr"] == attr
    assert remedy in error["detail"]


@pytest.mark.parametrize("missing", ["host", "username", "password"])
def test_a_log_in_is_complete(api: APIClient, missing: str) -> None:
    answer = api.post("/registries", {k: v for k, v in BODY.items() if k != missing})

    assert [error["attr"] for error in answer.data["errors"]] == [missing]


def test_an_organization_has_one_log_in_to_a_registry(api: APIClient, row: Registry) -> None:
    again = api.post("/registries", {**BODY, "host": row.host.upper()})

    assert (again.status_code, again.data["errors"][0]["code"]) == (400, "unique")
    assert again.data["errors"][0]["attr"] == "host"


def test_an_organization_has_a_bounded_number_of_log_ins(
    api: APIClient, row: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "MOST", 1)

    refused = api.post("/registries", {**BODY, "host": "ghcr.io"})

    assert (refused.status_code, refused.data["errors"][0]["code"]) == (409, "limit_reached")


def test_the_password_can_change_alone(api: APIClient, row: Registry) -> None:
    changed = api.patch(f"/registries/{row.pk}", {"password": "another"})
    renamed = api.patch(f"/registries/{row.pk}", {"username": "bot"})

    assert (changed.status_code, renamed.data["username"]) == (200, "bot")
    login = Registry.objects.get(pk=row.pk).open_login()
    assert (login.username, login.password) == ("bot", "another")


def test_a_stored_password_cannot_be_sent_to_another_host(api: APIClient, row: Registry) -> None:
    answer = api.patch(f"/registries/{row.pk}", {"host": "evil.example.org"})

    assert answer.status_code == 400
    assert answer.data["errors"][0]["attr"] == "host"
    assert Registry.objects.get(pk=row.pk).host == row.host


def test_a_registry_cannot_change_its_organization(
    api: APIClient, alice: User, row: Registry
) -> None:
    other = Organization.objects.create(name="Initech")
    Membership.objects.create(organization=other, user=alice, role=Role.OWNER)

    answer = api.patch(f"/registries/{row.pk}", {"organization": other.pk})

    assert answer.data["errors"][0]["attr"] == "organization"


@pytest.mark.parametrize("role", [Role.VIEWER, Role.DEVELOPER])
def test_members_see_log_ins_and_only_admins_change_them(
    client_for: ClientFor, member_as: MemberAs, row: Registry, role: Role
) -> None:
    member = client_for(member_as(role))

    assert member.get(f"/registries/{row.pk}").status_code == 200
    for answer in (
        member.post("/registries", {**BODY, "host": "ghcr.io"}),
        member.patch(f"/registries/{row.pk}", {"username": "x"}),
        member.delete(f"/registries/{row.pk}"),
    ):
        refusal(answer, 403)


def test_a_deleted_log_in_is_gone(api: APIClient, row: Registry) -> None:
    assert api.delete(f"/registries/{row.pk}").status_code == 204
    assert not Registry.objects.exists()
    assert Event.objects.filter(kind="registry_deleted").exists()


def test_a_list_can_be_filtered(api: APIClient, row: Registry) -> None:
    api.post("/registries", {**BODY, "host": "ghcr.io"})

    found = api.get("/registries", {"host": "ghcr.io"}).data["results"]

    assert [each["host"] for each in found] == ["ghcr.io"]


def test_an_organization_is_deleted_with_its_log_ins(row: Registry, acme: Organization) -> None:
    acme.delete()

    assert not Registry.objects.exists()


# --- Use ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "image", "used"),
    [
        ("registry.example.org:5000", "registry.example.org:5000/team/train:1", True),
        ("Registry.Example.org", "registry.example.org/train", True),
        ("registry.example.org", "registry.example.org:5000/train", False),
        ("docker.io", "train", True),
        ("docker.io", "team/train:1", True),
        ("index.docker.io", "docker.io/team/train@sha256:" + "a" * 64, True),
        ("ghcr.io", "team/ghcr.io", False),
        ("localhost", "localhost/train", True),
    ],
)
def test_a_log_in_is_used_for_images_of_its_registry_only(
    api: APIClient, acme: Organization, host: str, image: str, used: bool
) -> None:
    api.post("/registries", {**BODY, "host": host})

    login = services.login_for(services.by_host(acme.pk), image)

    assert bool(login) is used
    if login:
        assert (login.username, login.password) == ("ci", PASSWORD)


def test_a_log_in_of_another_organization_is_not_used(
    api: APIClient, row: Registry, globex: Organization
) -> None:
    assert services.login_for(services.by_host(globex.pk), f"{row.host}/train") is None


def test_the_engine_gets_the_log_in(
    row: Registry, foundry: Cluster, submit: Submit, engine: FakeEngine
) -> None:
    submit(image=f"{row.host}/train")
    submit(image="ghcr.io/train")

    run_cycle(foundry.organization_id, SchedulingCycle.Trigger.MANUAL)
    reconcile(foundry.pk)

    found = {c.spec.image: c.spec.login for c in engine.containers.values()}
    assert found["ghcr.io/train"] is None
    login = found[f"{row.host}/train"]
    assert login
    assert (login.username, login.password) == ("ci", PASSWORD)


def test_a_password_that_cannot_be_decrypted_is_reported(
    row: Registry, forge: Cluster, submit: Submit, settings: Settings
) -> None:
    deployment: Deployment = submit(image=f"{row.host}/train")
    settings.CREDENTIALS_KEYS = [Fernet.generate_key().decode()]

    run_cycle(forge.organization_id, SchedulingCycle.Trigger.MANUAL)
    reconcile(forge.pk)

    deployment.refresh_from_db()
    assert (deployment.status, deployment.status_code) == (Status.FAILED, "image_not_pullable")
    assert "set it again" in deployment.status_reason


# --- The console ----------------------------------------------------------------------------------


def form(**fields: Any) -> dict[str, Any]:
    return {"host": "GHCR.io", "username": "ci", "password": PASSWORD, **fields}


def test_operators_add_change_and_delete_log_ins(console: Client, acme: Organization) -> None:
    pasted = form(organization=acme.pk, password=f"{PASSWORD}\r\n")
    console.post(reverse("admin:deployments_registry_add"), pasted)
    row = Registry.objects.get()
    page = reverse("admin:deployments_registry_change", args=[row.pk])
    console.post(page, {"username": "bot", "password": ""})
    row.refresh_from_db()

    assert (row.host, row.username, row.open_login().password) == ("ghcr.io", "bot", PASSWORD)
    console.post(reverse("admin:deployments_registry_delete", args=[row.pk]), {"post": "yes"})
    assert not Registry.objects.exists()
    assert Event.objects.filter(kind="registry_deleted", actor="olga").exists()


def test_a_wrong_form_does_not_show_the_password(console: Client, acme: Organization) -> None:
    wrong = form(organization=acme.pk, host="team")

    page = console.post(reverse("admin:deployments_registry_add"), wrong).content.decode()

    assert "is localhost" in page
    assert PASSWORD not in page
    assert not Registry.objects.exists()


def test_a_new_log_in_needs_a_password(console: Client, acme: Organization) -> None:
    console.post(reverse("admin:deployments_registry_add"), form(organization=acme.pk, password=""))

    assert not Registry.objects.exists()
