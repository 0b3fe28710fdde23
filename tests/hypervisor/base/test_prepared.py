"""A prepared query returns what its queryset returns."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from clusters.models import Cluster, Node
from hypervisor.base.prepared import Prepared, Together
from orgs.models import Membership, Organization

pytestmark = pytest.mark.django_db


def test_it_returns_the_rows_of_the_queryset_for_each_number(alice: User, bob: User) -> None:
    users = Prepared(lambda pk: User.objects.filter(pk=pk))

    for user in (alice, bob):
        (found,) = users(user.pk)
        assert (found, found.username, found.password) == (user, user.username, user.password)
        assert not found.get_deferred_fields()
    assert users(0) == []


def test_it_joins_the_related_row_and_converts_values(forge: Cluster) -> None:
    Node.objects.update(labels={"zone": "a"})
    nodes = Prepared(
        lambda pk: Node.objects.filter(cluster__organization=pk).select_related("cluster"),
        related="cluster",
    )

    with CaptureQueriesContext(connection) as queries:
        (node,) = nodes(forge.organization_id)
        assert (node.cluster, node.cluster.name, node.labels) == (forge, forge.name, {"zone": "a"})

    assert len(queries) == 1


def test_it_takes_texts(alice: User, bob: User) -> None:
    named = Prepared(lambda name, pk: User.objects.filter(username=name, pk=pk))

    assert named("alice", alice.pk) == [alice]
    assert named("alice", bob.pk) == []
    assert named("' OR true --", bob.pk) == []


def test_it_takes_several_numbers(alice: User, acme: Organization) -> None:
    memberships = Prepared(
        lambda user, organization: Membership.objects.filter(user=user, organization=organization)
    )

    assert [m.user_id for m in memberships(alice.pk, acme.pk)] == [alice.pk]
    assert memberships(acme.pk + 10**6, alice.pk) == []


def test_a_number_beyond_every_id_matches_nothing() -> None:
    assert Prepared(lambda pk: User.objects.filter(pk=pk))(10**30) == []


def test_a_queryset_that_does_not_pass_the_number_on_is_an_error() -> None:
    with pytest.raises(AssertionError, match="not in the SQL"):
        Prepared(lambda pk: User.objects.filter(pk=pk % 10))(1)


def test_queries_that_are_read_together_return_the_same_with_and_without_a_stored_function(
    alice: User, acme: Organization
) -> None:
    users = Prepared(lambda name: User.objects.filter(username=name))
    memberships = Prepared(
        lambda name: Membership.objects.filter(user__username=name).select_related("organization"),
        related="organization",
    )
    together = Together(users, memberships, takes=(str,))

    plain = together("alice")
    together.function.install()
    # Twice in one transaction: the cursors of the first call are closed.
    for _ in range(2):
        with CaptureQueriesContext(connection) as queries:
            (user,), (membership,) = together("alice")
        assert [together.function.name in query["sql"] for query in queries] == [True]

    assert [[user], [membership]] == plain
    assert (user.password, membership.organization.name) == (alice.password, acme.name)
    assert together("' OR true --") == [[], []]
