"""Secrets in `env` are shown to the container only."""

from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.test import Client
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.models import AuditEntry, IdempotencyKey, User
from clusters.models import Cluster
from deployments.models import Deployment
from deployments.runtime.models import Run
from orgs.models import Event
from scheduling.cycle.run import run_cycle
from scheduling.models import SchedulingCycle
from tests.fixtures.deployments import Submit
from tests.fixtures.people import ClientFor
from tests.support.fake_engine import FakeEngine
from tests.support.reconcile import reconcile

pytestmark = pytest.mark.django_db

VALUE = "hunter2-and-then-some"
BODY = {
    "name": "train", "image": "pytorch", "cpu": 1, "ram_mib": 1024,
    "env": {"EPOCHS": "40", "TOKEN": {"secret": VALUE}},
}  # fmt: skip


def named(answer: Any) -> list[str]:
    """Return the fields that an error names, whatever its status."""
    return [error["attr"] for error in answer.data["errors"]]


@pytest.fixture
def api(client_for: ClientFor, bob: User, forge: Cluster) -> APIClient:
    return client_for(bob)


@pytest.fixture
def row(api: APIClient) -> Deployment:
    return Deployment.objects.get(pk=api.post("/deployments", BODY).data["id"])


def env_in_container(engine: FakeEngine, deployment: Deployment) -> dict[str, str]:
    return dict(engine.containers[deployment.runs.latest("pk").pk].spec.environment)


def test_a_response_has_null_for_a_secret(api: APIClient) -> None:
    answer = api.post("/deployments", BODY)

    assert answer.status_code == 201
    assert answer.data["env"] == {"EPOCHS": "40", "TOKEN": {"secret": None}}


def test_a_secret_appears_nowhere(
    api: APIClient, console: Client, forge: Cluster, capfd: pytest.CaptureFixture[str]
) -> None:
    created = api.post("/deployments", BODY, headers={"Idempotency-Key": "once"}).data
    path = f"/deployments/{created['id']}"
    api.patch(path, {"env": {"TOKEN": {"secret": VALUE}}})
    run_cycle(forge.organization_id, SchedulingCycle.Trigger.CHANGE)
    reconcile(forge.pk)
    stored = [
        list(model.objects.values())
        for model in (Deployment, Event, AuditEntry, IdempotencyKey, SchedulingCycle, Run)
    ]

    seen = [
        api.get(path).content, api.get("/deployments").content, api.get(f"{path}/events").content,
        api.get(f"{path}/explain").content, api.post("/deployments?dry_run=true", BODY).content,
        console.get(f"/admin/deployments/deployment/{created['id']}/change/").content,
        console.get("/admin/deployments/deployment/").content,
        repr(stored).encode(), "".join(capfd.readouterr()).encode(),
    ]  # fmt: skip
    assert [text for text in seen if VALUE.encode() in text] == []


def test_the_container_gets_the_secret(
    foundry: Cluster, engine: FakeEngine, place: Submit, row: Deployment
) -> None:
    place(deployment=row)

    reconcile(foundry.pk)

    assert env_in_container(engine, row) == {"EPOCHS": "40", "TOKEN": VALUE}


@pytest.mark.parametrize("method", ["put", "patch"])
def test_sending_the_null_back_keeps_the_secret(
    api: APIClient, row: Deployment, method: str
) -> None:
    before = row.env
    shown = api.get(f"/deployments/{row.pk}").data
    body = shown if method == "put" else {"env": shown["env"] | {"EPOCHS": "41"}}

    answer = getattr(api, method)(f"/deployments/{row.pk}", body)

    assert answer.status_code == 200
    row.refresh_from_db()
    assert row.env["TOKEN"] == before["TOKEN"]


def test_the_same_secret_is_not_a_change(api: APIClient, row: Deployment) -> None:
    api.patch(f"/deployments/{row.pk}", {"env": BODY["env"]})

    assert not Event.objects.filter(
        subject="deployment", subject_id=row.pk, kind="updated"
    ).exists()


def test_the_event_of_a_changed_secret_names_only_the_variables(
    api: APIClient, row: Deployment, foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    api.patch(f"/deployments/{row.pk}", {"env": {"TOKEN": {"secret": "new"}}})

    event = Event.objects.get(subject="deployment", subject_id=row.pk, kind="updated")
    assert event.data == {"env": [["EPOCHS", "TOKEN"], ["TOKEN"]]}
    row.refresh_from_db()
    place(deployment=row)
    reconcile(foundry.pk)
    assert env_in_container(engine, row) == {"TOKEN": "new"}


@pytest.mark.parametrize("former", [{}, {"TOKEN": "plain"}])
def test_a_null_without_a_stored_secret_is_refused(
    api: APIClient, submit: Submit, former: dict[str, str]
) -> None:
    deployment = submit(env=former)

    answers = [
        api.patch(f"/deployments/{deployment.pk}", {"env": {"TOKEN": {"secret": None}}}),
        api.post("/deployments", {**BODY, "env": {"TOKEN": {"secret": None}}}),
    ]

    for answer in answers:
        assert answer.status_code == 400
        assert named(answer) == ["env"]
        assert "TOKEN: there is no stored secret to keep" in answer.data["errors"][0]["detail"]


@pytest.mark.parametrize(
    "value",
    [{}, {"secret": "x", "more": 1}, {"Secret": "x"}, {"secret": 5 * ["x"]}, {"secret": "x" * 4097},
     ["secret"], {"secret": {"secret": "x"}}],
)  # fmt: skip
def test_a_malformed_secret_is_refused_without_repeating_it(api: APIClient, value: Any) -> None:
    answer = api.post("/deployments", {**BODY, "env": {"TOKEN": value}})

    assert answer.status_code == 400
    assert named(answer) == ["env.TOKEN"]
    assert "xxxxx" not in answer.content.decode()


def test_a_bad_name_is_refused_for_a_secret_as_well(api: APIClient) -> None:
    answer = api.post("/deployments", {**BODY, "env": {"A=B": {"secret": "x"}}})

    assert answer.status_code == 400
    assert named(answer) == ["env"]


@pytest.mark.parametrize(
    "name",
    ["", "1A", "A=B", "A B", " A", "A\n", "\xc4", "A/B", ".", "..", "..A", "A\0", "x" * 99 + "!"],
    ids=repr,
)
def test_a_name_that_not_every_engine_accepts_is_refused_and_named(
    api: APIClient, name: str
) -> None:
    answer = api.post("/deployments", {**BODY, "env": {"GOOD": "1", name: "1"}})

    assert answer.status_code == 400
    (error,) = answer.data["errors"]
    assert error["attr"] == "env"
    assert repr(name)[:40].strip("'") in error["detail"]
    assert "GOOD" not in error["detail"]


@pytest.mark.parametrize("name", ["A", "_", "a.b-c", "-A", ".A", "A..", "HTTP_PROXY2"])
def test_a_name_that_every_engine_accepts_is_accepted(api: APIClient, name: str) -> None:
    answer = api.post("/deployments", {**BODY, "env": {name: "1"}})

    assert answer.status_code == 201
    assert answer.data["env"] == {name: "1"}


def test_a_name_that_was_accepted_before_is_still_shown_and_kept(
    api: APIClient, submit: Submit
) -> None:
    deployment = submit(env={"A B": "1"})
    path = f"/deployments/{deployment.pk}"

    assert api.get(path).data["env"] == {"A B": "1"}
    assert api.patch(path, {"name": "renamed"}).status_code == 200
    assert api.get(path).data["env"] == {"A B": "1"}


def test_a_secret_that_no_key_decrypts_is_reported_with_the_remedy(
    foundry: Cluster, engine: FakeEngine, place: Submit, row: Deployment, settings: Settings
) -> None:
    place(deployment=row)
    settings.CREDENTIALS_KEYS = [Fernet.generate_key().decode()]

    reconcile(foundry.pk)

    row.refresh_from_db()
    assert (row.status, row.status_code) == ("failed", "invalid_spec")
    assert "set it again" in row.status_reason
    assert engine.starts == []
