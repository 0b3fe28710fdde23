"""Limits on pending deployments are exact although most submissions are not counted."""

import threading
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.models import User
from clusters.models import Cluster
from deployments import bounds
from deployments.bulk import Entry, submit_many
from deployments.choices import Status
from deployments.insertion import insert_at_once
from deployments.models import Deployment
from deployments.specs import Spec
from hypervisor.base.errors import NotFound
from orgs.models import Event, Organization
from tests.fixtures.deployments import Bring, Submit
from tests.fixtures.people import ClientFor

pytestmark = pytest.mark.django_db

JOB = {"name": "job", "image": "busybox", "cpu": 1, "ram_mib": 1024}


@pytest.fixture(autouse=True)
def no_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has not counted yet, and that need not count below a small limit either."""
    monkeypatch.setattr(bounds, "_LEAST", 1)
    monkeypatch.setattr(bounds, "_counts", {})


@pytest.fixture
def client(bob: User, forge: Cluster, client_for: ClientFor) -> APIClient:
    return client_for(bob)


def statements(client: APIClient, path: str, body: Any) -> list[str]:
    with CaptureQueriesContext(connection) as queries:
        assert client.post(path, body).status_code == 201
    return [query["sql"] for query in queries]


def test_far_from_the_limits_a_submission_is_not_counted_and_takes_three_messages(
    client: APIClient,
) -> None:
    assert any("count(*) FROM (SELECT" in sql for sql in statements(client, "/deployments", JOB))

    for path, body in (("/deployments", JOB), ("/deployments/bulk", {"deployments": [JOB] * 50})):
        later = statements(client, path, body)
        assert len(later) == 3  # the caller's role, the nodes, the rows; not the caller here
        assert not any("count(*) FROM (SELECT" in sql for sql in later)


def test_a_submission_at_once_stores_the_same_as_one_in_steps(
    client: APIClient, forge: Cluster
) -> None:
    body = JOB | {
        "command": ["a", "b c"], "env": {"X": "1"}, "gpu": 1, "requested_cluster": forge.pk,
        "run_as": {"uid": 1}, "prefer": {"zone": {"in": ["a"], "weight": 2}}, "max_runtime_s": 9,
    }  # fmt: skip
    for _ in range(2):
        assert client.post("/deployments", body).status_code == 201

    unlike = {"id", "created_at", "queued_at"}
    in_steps, at_once = (
        {name: value for name, value in row.items() if name not in unlike}
        for row in Deployment.objects.order_by("pk").values()
    )
    assert at_once == in_steps
    events = Event.objects.filter(subject=Event.Subject.DEPLOYMENT).order_by("pk")
    first, second = events.values("kind", "actor", "reason", "status", "data", "organization")
    assert first == second
    assert [event.subject_id for event in events] == list(
        Deployment.objects.order_by("pk").values_list("pk", flat=True)
    )


def test_the_limit_is_exact(client: APIClient, settings: Settings) -> None:
    settings.MAX_PENDING_PER_USER = 20

    statuses = [client.post("/deployments", JOB).status_code for _ in range(22)]

    assert statuses == [201] * 20 + [409] * 2


def test_a_lower_limit_holds_at_once(client: APIClient, settings: Settings) -> None:
    assert client.post("/deployments", JOB).status_code == 201
    settings.MAX_PENDING_PER_USER = 1

    assert client.post("/deployments", JOB).status_code == 409


def test_the_submissions_and_restarts_of_other_processes_count(
    client: APIClient, bring: Bring, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MAX_PENDING_PER_USER = 10
    ended = [bring(Status.STOPPED) for _ in range(5)]
    bounds._counts.clear()
    assert client.post("/deployments", JOB).status_code == 201
    counts = dict(bounds._counts)
    monkeypatch.setattr(bounds, "_counts", {})
    for deployment in ended:
        assert client.post(f"/deployments/{deployment.pk}/start").status_code == 202
    assert client.post("/deployments", JOB).status_code == 201

    monkeypatch.setattr(bounds, "_counts", counts)
    statuses = [client.post("/deployments", JOB).status_code for _ in range(5)]

    assert statuses == [201] * 3 + [409] * 2


def test_an_old_count_is_repeated(client: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    client.post("/deployments", JOB)
    monkeypatch.setattr(bounds, "monotonic", lambda: max(c.until for c in bounds._counts.values()))

    assert any("count(*) FROM (SELECT" in sql for sql in statements(client, "/deployments", JOB))


def test_nothing_is_inserted_for_what_was_deleted_in_between(
    bob: User, acme: Organization, submit: Submit, forge: Cluster
) -> None:
    def attempt(**columns: Any) -> bool:
        spec = Spec(name="job", image="busybox", cpu_milli=1000, ram_mib=1024)
        row = Deployment(**{"organization": acme, "created_by": bob, **spec.columns(), **columns})
        return insert_at_once([row], actor="bob", limits=[], up_to=2**62)

    assert not attempt(organization_id=10**9, organization=None)
    assert not attempt(requested_cluster_id=10**9, requested_cluster=None)
    assert not Deployment.objects.exists()
    assert attempt()


def test_a_deleted_cluster_is_reported_as_before(
    bob: User, acme: Organization, forge: Cluster, submit: Submit
) -> None:
    submit()
    spec = Spec(name="j", image="b", cpu_milli=1, ram_mib=1, requested_cluster=forge)
    Deployment.objects.all().delete()
    forge_pk = forge.pk
    Cluster.objects.filter(pk=forge_pk).delete()

    with pytest.raises(NotFound, match=f"Cluster {forge_pk} does not exist"):
        submit_many(created_by=bob, entries=[Entry(acme, spec)])


@pytest.mark.django_db(transaction=True)
def test_concurrent_submissions_do_not_exceed_the_limit(
    alice: User, forge: Cluster, client_for: ClientFor, settings: Settings
) -> None:
    settings.MAX_PENDING_PER_USER = 40
    start = threading.Barrier(8)
    statuses: list[int] = []

    def post() -> None:
        client = client_for(alice)
        start.wait()
        statuses.extend(client.post("/deployments", JOB).status_code for _ in range(7))
        connection.close()

    threads = [threading.Thread(target=post) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (statuses.count(201), statuses.count(409)) == (40, 16)
    assert Deployment.objects.pending().count() == 40
