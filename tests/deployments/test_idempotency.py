"""The Idempotency-Key header on POST /deployments."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.models import IdempotencyKey, User
from clusters.models import Cluster
from deployments.choices import Status
from deployments.models import Deployment
from orgs.models import Event
from tests.fixtures.deployments import Bring
from tests.fixtures.people import ClientFor
from tests.support.answers import refusal

BODY = {"name": "job", "image": "busybox", "cpu": 1, "ram_mib": 1024}


@pytest.fixture
def api(bob: User, forge: Cluster, client_for: ClientFor) -> APIClient:
    return client_for(bob)


def post(client: APIClient, body: Any = None, key: str = "k1", path: str = "/deployments") -> Any:
    return client.post(path, BODY if body is None else body, headers={"Idempotency-Key": key})


def test_a_repeated_key_gets_the_same_response_and_submits_nothing(api: APIClient) -> None:
    first, second = post(api), post(api)

    assert (second.status_code, second.json()) == (201, first.json())
    assert second.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    assert Deployment.objects.count() == 1


def test_the_first_response_is_repeated_even_if_the_deployment_has_changed(api: APIClient) -> None:
    first = post(api).json()
    api.post(f"/deployments/{first['id']}/cancel")

    assert post(api).json() == first


def test_without_a_key_every_post_submits(api: APIClient) -> None:
    for _ in range(2):
        api.post("/deployments", BODY)

    assert Deployment.objects.count() == 2


def test_the_same_key_with_another_body_is_refused(api: APIClient) -> None:
    post(api)

    error = refusal(post(api, BODY | {"name": "other"}), 409)

    assert (error["code"], error["attr"]) == ("idempotency_key_reused", "Idempotency-Key")
    assert "use a new key" in error["detail"]
    assert Deployment.objects.count() == 1


def test_the_same_key_on_another_path_is_refused(api: APIClient) -> None:
    post(api)

    refusal(post(api, path="/deployments/bulk"), 409)


def test_a_dry_run_ignores_the_key_of_the_call(api: APIClient) -> None:
    tried = post(api, path="/deployments?dry_run=true")
    made = post(api)
    again = post(api, path="/deployments?dry_run=true")

    assert (tried.status_code, made.status_code, again.status_code) == (200, 201, 200)
    assert post(api).data["id"] == made.data["id"]
    assert Deployment.objects.count() == 1


def test_what_is_kept_of_a_body_depends_on_the_secret_key(
    api: APIClient, settings: Settings
) -> None:
    post(api)
    settings.SECRET_KEY = "another secret key, of more than 32 characters"

    refusal(post(api), 409)


def test_a_key_that_the_former_release_stored_is_replayed(api: APIClient) -> None:
    first = post(api).json()
    body = json.dumps(BODY, separators=(",", ":")).encode()
    parts = (b"POST", b"/deployments", body)
    plain = hashlib.sha256(b"".join(len(part).to_bytes(8) + part for part in parts))
    assert IdempotencyKey.objects.update(fingerprint=plain.hexdigest()) == 1

    assert post(api).json() == first


def test_a_refused_request_does_not_use_up_its_key(api: APIClient) -> None:
    refusal(post(api, BODY | {"cpu": 99}), 400)

    assert post(api).status_code == 201


def test_a_call_that_the_status_forbade_may_be_repeated_with_the_same_key(
    api: APIClient, bring: Bring
) -> None:
    deployment = bring(Status.PENDING)
    refusal(post(api, {}, path=f"/deployments/{deployment.pk}/start"), 409)
    api.post(f"/deployments/{deployment.pk}/cancel")

    assert post(api, {}, path=f"/deployments/{deployment.pk}/start").status_code == 202


def test_a_verb_with_a_key_is_carried_out_once(api: APIClient, bring: Bring) -> None:
    deployment = bring(Status.RUNNING)

    answers = [post(api, {}, path=f"/deployments/{deployment.pk}/stop") for _ in range(2)]

    assert [answer.status_code for answer in answers] == [202, 202]
    assert Event.objects.filter(kind="stop_requested").count() == 1


def test_a_response_without_a_body_is_repeated_as_well(api: APIClient, bring: Bring) -> None:
    deployment = bring(Status.RUNNING)
    path = f"/deployments/{deployment.pk}/checkpoint"

    answers = [post(api, {}, path=path) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [204, 204]
    assert Event.objects.filter(kind="checkpoint").count() == 1


def test_a_key_belongs_to_its_user(api: APIClient, alice: User, client_for: ClientFor) -> None:
    post(api)

    assert post(client_for(alice)).status_code == 201
    assert Deployment.objects.count() == 2


def test_a_key_is_forgotten_after_a_day(api: APIClient) -> None:
    post(api)

    with time_machine.travel(timezone.now() + timedelta(hours=24, seconds=1)):
        assert post(api, BODY | {"name": "other"}).status_code == 201


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_an_invalid_key_is_named(api: APIClient, key: str) -> None:
    assert refusal(post(api, key=key), 400)["attr"] == "Idempotency-Key"
    tried = post(api, path="/deployments?dry_run=true", key=key)
    assert refusal(tried, 400)["attr"] == "Idempotency-Key"


@pytest.mark.django_db(transaction=True)
def test_concurrent_requests_with_one_key_submit_one_deployment(
    bob: User, forge: Cluster, client_for: ClientFor
) -> None:
    both = Barrier(2)

    def twin() -> tuple[int, Any]:
        try:
            client = client_for(bob)
            both.wait(timeout=10)
            response = post(client)
            return response.status_code, response.json()
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(twin), pool.submit(twin)]
        first, second = (future.result(timeout=30) for future in futures)

    assert first == second
    assert first[0] == 201
    assert Deployment.objects.count() == 1
