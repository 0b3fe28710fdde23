"""A kept connection is checked without a statement, and replaced if its server has ended it."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from tests.support.docker_engine import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

connection: Any = connections["default"]


@pytest.fixture
def kept() -> Iterator[psycopg.Connection]:
    """The connection of an earlier request, which the present one begins to use."""
    connection.ensure_connection()
    connection.health_check_enabled = True
    yield connection.connection
    connection.close()


def begin_request() -> None:
    connection.health_check_done = False


def backend() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])


def elsewhere(sql: str, *values: int) -> None:
    other = connections.create_connection("default")
    with other.cursor() as cursor:
        cursor.execute(sql, values)
    other.close()


def test_a_live_connection_is_kept_without_a_statement(kept: psycopg.Connection) -> None:
    begin_request()
    with CaptureQueriesContext(connection) as queries:
        backend()

    assert connection.connection is kept
    assert len(queries) == 1


def test_a_connection_that_the_server_has_ended_is_replaced(kept: psycopg.Connection) -> None:
    former = backend()
    elsewhere("SELECT pg_terminate_backend(%s, 5000)", former)
    begin_request()

    assert backend() != former


def test_a_connection_with_a_notification_is_asked_and_kept(kept: psycopg.Connection) -> None:
    with connection.cursor() as cursor:
        cursor.execute("LISTEN news")
    elsewhere("NOTIFY news")
    wait_until(lambda: not connection._is_silent(), "the notification has come")
    begin_request()

    backend()

    assert connection.connection is kept
    assert connection._is_silent()


def test_a_closed_connection_is_not_usable(kept: psycopg.Connection) -> None:
    kept.close()

    assert not connection.is_usable()
