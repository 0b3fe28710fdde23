"""A value that is not one of the choices: the error lists them, in bodies and in filters."""

from collections.abc import Iterator
from typing import Any

import pytest
from rest_framework import serializers

from accounts.models import User
from clusters.models import Cluster
from hypervisor.rest.serializers import BooleanField, ChoiceField, StrictMixin
from orgs.models import Organization
from tests.fixtures.people import ClientFor
from tests.support.answers import refusal
from tests.support.routes import ROUTES

JOB: dict[str, Any] = {"name": "job", "image": "busybox", "cpu": 1, "ram_mib": 64}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("path", "body", "attr", "choices"),
    [
        ("/tokens", {"name": "x", "scopes": ["read", "root"]}, "scopes.1", "read, submit, admin"),
        ("/deployments", {**JOB, "restart_policy": "root"}, "restart_policy", "never, on-failure"),
        ("/deployments?status=root", None, "status", "pending, starting, "),
        ("/clusters?state=root", None, "state", "active, "),
    ],
)
def test_an_error_lists_the_choices(
    alice: User,
    forge: Cluster,
    client_for: ClientFor,
    path: str,
    body: Any,
    attr: str,
    choices: str,
) -> None:
    client = client_for(alice)
    error = refusal(client.post(path, body) if body else client.get(path), 400)
    assert error["attr"] == attr
    assert error["detail"].startswith(f'"root" is not one of the choices: {choices}')


@pytest.mark.django_db
def test_a_flag_is_true_or_false(alice: User, client_for: ClientFor) -> None:
    error = refusal(client_for(alice).get("/webhooks?enabled=maybe"), 400)
    assert (error["attr"], error["detail"]) == ("enabled", "Give true or false.")


@pytest.mark.django_db
@pytest.mark.parametrize("wrong", [0, 1, "true", "yes", None, []])
def test_a_flag_in_a_body_is_true_or_false(
    acme: Organization, alice: User, client_for: ClientFor, wrong: Any
) -> None:
    body = {"url": "https://hooks.example.org", "enabled": wrong}
    error = refusal(client_for(alice).post("/webhooks", body), 400)
    assert error["attr"] == "enabled"


@pytest.mark.parametrize(
    ("kind", "strict", "least"),
    [(serializers.ChoiceField, ChoiceField, 6), (serializers.BooleanField, BooleanField, 2)],
)
def test_choices_and_flags_of_every_body_are_strict(kind: type, strict: type, least: int) -> None:
    assert ROUTES  # All serializers have been imported.
    given = [field for made in _bodies(StrictMixin) for field in _fields(made)]
    found = [field for field in given if isinstance(field, kind)]
    assert len(found) >= least
    assert [field for field in found if not isinstance(field, strict)] == []


def _bodies(base: Any) -> Iterator[Any]:
    for kind in base.__subclasses__():
        if kind.__module__.startswith("tests."):
            continue
        if hasattr(kind, "Meta") or getattr(kind, "_declared_fields", None):
            yield kind()
        yield from _bodies(kind)


def _fields(serializer: Any) -> Iterator[Any]:
    for field in serializer._writable_fields:
        yield getattr(field, "child", field)
