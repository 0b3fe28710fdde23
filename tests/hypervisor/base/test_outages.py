"""Which errors of a real PostgreSQL are temporary, which are conflicts, and which are bugs."""

from contextlib import closing

import pytest
from django.db import Error, InterfaceError, connection, connections, transaction

from clusters.models import Node
from hypervisor.base.errors import Conflict, DomainError, NotFound, Unavailable
from hypervisor.base.outages import is_lock_timeout, refusal_of
from orgs.models import Organization

pytestmark = pytest.mark.django_db


def error_of(sql: str) -> Error:
    """Return the error that Django raises for the statement."""
    with (
        pytest.raises((Error, InterfaceError)) as raised,
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(sql)
    return raised.value


def raised(sqlstate: str) -> Error:
    return error_of(f"DO $$ BEGIN RAISE 'made up' USING ERRCODE = '{sqlstate}'; END $$")


@pytest.mark.parametrize(
    ("sqlstate", "code"),
    [
        ("55P03", "locked"),
        ("40P01", "locked"),
        ("40001", "locked"),
        ("57014", "database_slow"),
        ("25006", "database_read_only"),
        ("53100", "database_full"),
        ("53300", "database_full"),
        ("53200", "database_unavailable"),
        ("57P01", "database_unavailable"),
        ("57P03", "database_unavailable"),
        ("58030", "database_unavailable"),
        ("08006", "database_unavailable"),
        ("25P03", "database_unavailable"),
    ],
)
def test_a_temporary_error_is_unavailable(sqlstate: str, code: str) -> None:
    refusal = refusal_of(raised(sqlstate))

    assert isinstance(refusal, Unavailable)
    assert (refusal.code, refusal.retry_after_s > 0) == (code, True)


@pytest.mark.parametrize(
    "sqlstate", ["42P01", "42601", "23505", "23514", "22012", "XX000", "42501"]
)
def test_a_bug_stays_an_error(sqlstate: str) -> None:
    assert refusal_of(raised(sqlstate)) is None


def test_a_reference_to_a_deleted_row_is_a_conflict() -> None:
    assert isinstance(refusal_of(raised("23503")), Conflict)


@pytest.mark.own_session
@pytest.mark.django_db(transaction=True)
def test_a_missing_and_a_closed_connection_are_unavailable() -> None:
    with closing(connections.create_connection("default")) as nowhere:
        nowhere.settings_dict = {**nowhere.settings_dict, "PORT": 1}
        with pytest.raises(Error) as refused:
            nowhere.ensure_connection()
    with closing(connections.create_connection("default")) as lost:
        with lost.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            pid = cursor.fetchone()[0]
        with connection.cursor() as killer:
            killer.execute("SELECT pg_terminate_backend(%s)", [pid])
        with pytest.raises((Error, InterfaceError)) as ended, lost.cursor() as cursor:
            cursor.execute("SELECT 1")

    for error in (refused.value, ended.value):
        refusal = refusal_of(error)
        assert refusal is not None
        assert refusal.code == "database_unavailable"


def test_a_deleted_row_is_not_found_but_a_relation_that_never_existed_is_an_error() -> None:
    with pytest.raises(Organization.DoesNotExist) as gone:
        Organization.objects.get(pk=0)

    assert isinstance(refusal_of(gone.value), NotFound)
    with pytest.raises(AttributeError) as never:
        Node(pk=0).connection  # noqa: B018
    assert refusal_of(never.value) is None


@pytest.mark.parametrize("error", [None, ValueError("x"), DomainError("x")])
def test_other_errors_are_not_translated(error: Exception | None) -> None:
    assert refusal_of(error) is None


def test_a_lock_timeout_is_distinguished_from_other_errors() -> None:
    assert is_lock_timeout(raised("55P03"))
    assert not is_lock_timeout(raised("57014"))
