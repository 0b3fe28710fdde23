"""Locks that outlast transactions, on connections of their own."""

from collections.abc import Iterator

import pytest
from django.db import OperationalError, connection, transaction

from hypervisor.base import long_locks
from hypervisor.base.long_locks import Name, try_to_hold

pytestmark = pytest.mark.django_db(transaction=True)

ENGINE = Name("engine", 1)


@pytest.fixture
def kept() -> Iterator[None]:
    """Keep connections, as a worker does."""
    long_locks.keep_connections(2)
    yield
    long_locks.keep_connections(0)
    while session := long_locks._take():
        session.close()


def end_idle_sessions() -> None:
    """Let the server end the sessions of locks, as it does when it restarts."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def test_a_lock_outlasts_transactions_and_excludes_others_until_the_end_of_the_block() -> None:
    with try_to_hold(ENGINE) as acquired:
        with transaction.atomic(), try_to_hold(ENGINE) as again:
            pass
        with try_to_hold(ENGINE) as after, try_to_hold(Name("engine", 2)) as other:
            pass

    with try_to_hold(ENGINE) as later:
        pass
    assert (acquired, again, after, other, later) == (True, False, False, True, True)


def test_shared_locks_exclude_only_locks_that_are_not_shared() -> None:
    shared = ENGINE._replace(shared=True)
    with try_to_hold(shared) as first, try_to_hold(shared) as second, try_to_hold(ENGINE) as own:
        pass

    assert (first, second, own) == (True, True, False)


def test_without_one_of_several_locks_none_is_held() -> None:
    free = Name("engine", 2)
    with try_to_hold(ENGINE), try_to_hold(free, ENGINE) as both, try_to_hold(free) as one:
        pass

    assert (both, one) == (False, True)


@pytest.mark.own_session
def test_a_worker_keeps_connections_and_replaces_those_that_the_server_ended(kept: None) -> None:
    with try_to_hold(ENGINE):
        pass
    (session,) = long_locks._kept
    with try_to_hold(ENGINE):
        pass
    assert long_locks._kept == [session]

    end_idle_sessions()
    with try_to_hold(ENGINE) as acquired:
        pass

    assert acquired
    assert long_locks._kept != [session]


@pytest.mark.own_session
def test_a_lock_that_was_lost_is_an_error_at_the_end_of_the_block() -> None:
    with pytest.raises(OperationalError), try_to_hold(ENGINE):
        end_idle_sessions()


def test_an_error_in_the_block_releases_the_lock() -> None:
    with pytest.raises(RuntimeError), try_to_hold(ENGINE):
        raise RuntimeError("on purpose")

    with try_to_hold(ENGINE) as acquired:
        assert acquired
