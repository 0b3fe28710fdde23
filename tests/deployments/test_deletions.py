"""Concurrent deletions and additions: one of them wins, and the other gets an error."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier
from typing import Any

import pytest
from django.db import connection, connections
from rest_framework.test import APIClient

from accounts.models import User
from clusters import services as cluster_services
from clusters.capacity import Capacity
from clusters.models import Cluster
from clusters.nodes import NodeSpec
from deployments.models import Deployment
from orgs.models import Membership, Organization, Role
from scheduling.insight.verify import violations
from scheduling.tasks import run_requested_cycle

pytestmark = pytest.mark.django_db(transaction=True)

ROUNDS = 8
OK = (200, 201, 204, 404, 409)
_PATIENCE_S = 60
Call = Callable[[APIClient], Any]


@pytest.fixture
def place(acme: Organization) -> Callable[[str], Cluster]:
    def create(name: str) -> Cluster:
        return cluster_services.create(
            actor="alice", organization=acme, name=name, capacity=Capacity(64000, 65536, 0)
        )

    return create


def job(name: str, organization: int, cluster: int | None = None, **more: Any) -> dict[str, Any]:
    where = {"requested_cluster": cluster} if cluster else {"organization": organization}
    return {"name": name, "image": "x:1", "cpu": 1, "ram_mib": 64, **where, **more}


def at_once(user: User, *calls: Call, others: Mapping[User, Call] = {}) -> list[tuple[int, str]]:
    """Make all calls at the same time, each in its own thread; return their responses.

    `others` are calls of other people.
    """
    made = [*((user, call) for call in calls), *others.items()]
    ready = Barrier(len(made))

    def make(person: User, call: Call) -> tuple[int, str]:
        client = APIClient(raise_request_exception=False)
        client.force_authenticate(person)
        try:
            connection.ensure_connection()
            ready.wait(_PATIENCE_S)
            answer = call(client)
            return (answer.status_code, answer.content.decode()) if answer else (200, "")
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(made)) as pool:
        return list(pool.map(make, *zip(*made, strict=True)))


@contextmanager
def no_deadlock() -> Iterator[None]:
    before = _deadlocks()
    yield
    assert _deadlocks() == before


def _deadlocks() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_stat_force_next_flush(), deadlocks FROM pg_stat_database"
            " WHERE datname = current_database()"
        )
        return int(cursor.fetchone()[1])


def assert_settled(answers: list[tuple[int, str]]) -> None:
    wrong = [(status, text) for status, text in answers if status not in OK]
    assert not wrong


def is_wrong_by_now(answer: tuple[int, str]) -> bool:
    """Whether the error is that the cluster or the dependency has just been deleted."""
    status, text = answer
    return status == 400 and ("exceeds_capacity" in text or "depends_on" in text)


def delete(path: str) -> Call:
    return lambda client: client.delete(path)


def post(path: str, body: Any = None) -> Call:
    return lambda client: client.post(path, body)


def patch(path: str, **body: Any) -> Call:
    return lambda client: client.patch(path, body)


def cycle(organization: int) -> Call:
    return lambda _: run_requested_cycle(organization)


def test_a_cluster_is_deleted_during_submissions_that_request_it(
    acme: Organization, alice: User, place: Callable[[str], Cluster]
) -> None:
    place("stays")
    with no_deadlock():
        for number in range(ROUNDS):
            going = place(f"goes-{number}").pk
            kept = Deployment.objects.create(
                organization=acme, name="kept", image="x:1", cpu_milli=1000, ram_mib=64
            )
            many = [job(f"many-{n}", acme.pk, going) for n in range(20)]
            answers = at_once(
                alice,
                delete(f"/clusters/{going}"),
                post("/deployments", job("one", acme.pk, going)),
                post("/deployments/bulk", {"deployments": many}),
                patch(f"/deployments/{kept.pk}", requested_cluster=going),
                patch(f"/clusters/{going}", name=f"other-{going}"),
                post(f"/clusters/{going}/cordon"),
                cycle(acme.pk),
            )
            assert_settled(answers)
            gone = not Cluster.objects.filter(pk=going).exists()
            assert gone == (answers[0][0] == 204)
            Deployment.objects.filter(requested_cluster=going, cluster=None).delete()


def test_a_node_is_deleted_during_placements_and_changes(acme: Organization, alice: User) -> None:
    specs = NodeSpec("n", Capacity(4000, 4096, 0)).repeated(3)
    with no_deadlock():
        for number in range(ROUNDS):
            cluster = cluster_services.create(
                actor="alice", organization=acme, name=f"rack-{number}", specs=specs
            )
            first, second, _ = (f"/clusters/{cluster.pk}/nodes/{n.pk}" for n in cluster.nodes.all())
            many = [job(f"many-{n}", acme.pk, cluster.pk) for n in range(6)]
            answers = at_once(
                alice,
                delete(first),
                delete(f"/clusters/{cluster.pk}"),
                post("/deployments/bulk", {"deployments": many}),
                post(f"/clusters/{cluster.pk}/nodes", {"name": "new", "cpu": 1, "ram_mib": 64}),
                patch(second, cpu=9),
                post(f"{second}/drain"),
                cycle(acme.pk),
            )
            assert_settled([answer for answer in answers if not is_wrong_by_now(answer)])
            assert list(violations()) == []
            Deployment.objects.filter(requested_cluster=cluster.pk, cluster=None).delete()


def test_an_organization_is_deleted_during_additions_to_it(alice: User) -> None:
    with no_deadlock():
        for number in range(ROUNDS):
            org = Organization.objects.create(name=f"Org {number}")
            Membership.objects.create(organization=org, user=alice, role=Role.OWNER)
            cluster = cluster_services.create(
                actor="alice", organization=org, name="one", capacity=Capacity(64000, 65536, 0)
            )
            on = Deployment.objects.create(
                organization=org, name="on", image="x:1", cpu_milli=1000, ram_mib=64
            )
            second = {"name": "two", "cpu": 1, "ram_mib": 64, "organization": org.pk}
            answers = at_once(
                alice,
                delete(f"/organizations/{org.pk}"),
                post("/deployments", job("one", org.pk)),
                post("/deployments", job("waits", org.pk, depends_on=[{"deployment": on.pk}])),
                post("/deployments/bulk", {"deployments": [job("n", org.pk)] * 20}),
                post("/clusters", second),
                delete(f"/clusters/{cluster.pk}"),
                patch(f"/deployments/{on.pk}", priority=7),
                delete(f"/deployments/{on.pk}"),
                cycle(org.pk),
            )
            assert_settled([answer for answer in answers if not is_wrong_by_now(answer)])
            Organization.objects.filter(pk=org.pk).delete()


def test_an_organization_is_deleted_while_members_join_and_leave(
    alice: User, bob: User, charlie: User, olga: User
) -> None:
    with no_deadlock():
        for number in range(ROUNDS):
            org = Organization.objects.create(name=f"Org {number}")
            Membership.objects.create(organization=org, user=alice, role=Role.OWNER)
            Membership.objects.create(organization=org, user=bob, role=Role.ADMIN)
            answers = at_once(
                alice,
                delete(f"/organizations/{org.pk}"),
                patch(f"/organizations/{org.pk}/members/{bob.pk}", role="viewer"),
                post(f"/organizations/{org.pk}/regenerate-invite"),
                patch(f"/organizations/{org.pk}", name="Another name"),
                others={
                    bob: delete(f"/organizations/{org.pk}/members/{bob.pk}"),
                    charlie: post("/join-organization", {"invite_code": org.invite_code}),
                    olga: post("/join-organization", {"invite_code": org.invite_code}),
                },
            )
            assert_settled(answers)
            assert answers[0][0] == 204
            assert not Membership.objects.filter(organization=org.pk).exists()
