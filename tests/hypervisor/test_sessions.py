"""Limits of the database sessions of every process, which an operator's options override."""

from collections.abc import Iterator
from contextlib import closing

import pytest
from celery import signals
from celery.app.trace import build_tracer
from django.db import connection, connections
from django.utils.module_loading import import_string

from hypervisor import sessions
from hypervisor.base import long_locks
from hypervisor.celery import app
from hypervisor.sessions import COMMAND, WEB, WORKER, Limits
from hypervisor.standalone.bootstrap import ROOT

pytestmark = [pytest.mark.django_db, pytest.mark.own_session]

LIMITS = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")


@pytest.fixture(autouse=True)
def command_again() -> Iterator[None]:
    yield
    sessions.use(COMMAND)
    long_locks.keep_connections(0)


@pytest.fixture
def started() -> Iterator[None]:
    """Let this process handle the signals of tasks as a worker does."""
    fixup = import_string("celery.fixups.django.DjangoWorkerFixup")(app).install()
    yield
    signals.task_prerun.disconnect(fixup.on_task_prerun)
    signals.task_postrun.disconnect(fixup.on_task_postrun)
    signals.worker_process_init.disconnect(fixup.on_worker_process_init)
    signals.beat_embedded_init.disconnect(fixup.close_database)


def run_task() -> None:
    """Run a task that does nothing, as a worker runs it."""
    task = app.tasks["celery.accumulate"]
    build_tracer(task.name, task, app=app)("some-id", [], {}, {"is_eager": False})


def shown(*names: str) -> list[str]:
    """Return the parameters of a new session of this process."""
    with closing(connections.create_connection("default")) as new, new.cursor() as cursor:
        values = []
        for name in names:
            cursor.execute(f"SHOW {name}")
            values.append(str(cursor.fetchone()[0]))
        return values


def test_a_command_may_run_long_but_waits_for_a_lock_only_briefly() -> None:
    assert shown(*LIMITS) == ["10s", "0", "10min"]


@pytest.mark.parametrize(
    ("limits", "expected"), [(WEB, ["3s", "30s", "1min"]), (WORKER, ["3s", "5min", "2min"])]
)
def test_other_processes_use_their_limits(limits: Limits, expected: list[str]) -> None:
    sessions.use(limits)

    assert shown(*LIMITS) == expected


def test_the_web_server_sets_its_limits_when_it_loads_the_application() -> None:
    import hypervisor.wsgi

    assert hypervisor.wsgi.application
    assert shown("lock_timeout", "statement_timeout") == ["3s", "30s"]


def test_a_worker_sets_its_limits_before_it_forks() -> None:
    from celery.signals import celeryd_init

    celeryd_init.send(sender="worker@here", instance=None, conf=app.conf, options={})

    assert shown("statement_timeout") == ["5min"]


@pytest.mark.django_db(transaction=True)
def test_a_worker_keeps_its_session_from_task_to_task(started: None) -> None:
    connection.ensure_connection()
    session = connection.connection

    run_task()

    assert connection.connection is session
    assert not session.closed


@pytest.mark.django_db(transaction=True)
def test_a_worker_replaces_a_session_that_has_ended(started: None) -> None:
    connection.ensure_connection()
    session = connection.connection
    with closing(connections.create_connection("default")) as other, other.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [session.info.backend_pid])

    run_task()

    with connection.cursor():
        assert connection.connection is not session


def test_both_sides_notice_when_the_other_machine_vanishes() -> None:
    sessions.use(WORKER)

    assert shown("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count") == [
        "10", "5", "3",
    ]  # fmt: skip
    with closing(connections.create_connection("default")) as new:
        new.ensure_connection()
        parameters = new.connection.info.get_parameters()
    assert (parameters["keepalives_idle"], parameters["tcp_user_timeout"]) == ("10", "20000")


def test_the_operators_options_override_the_limits() -> None:
    given = {"options": "-c statement_timeout=2min", "connect_timeout": 9, "sslmode": "prefer"}

    chosen = sessions.options(WEB, given)

    assert chosen["options"].endswith("-c statement_timeout=2min")
    assert "-c lock_timeout=3s" in chosen["options"]
    assert (chosen["connect_timeout"], chosen["sslmode"]) == (9, "prefer")


@pytest.mark.parametrize(
    ("name", "limits"),
    [("web", sessions.WEB), ("worker", sessions.WORKER), ("command", sessions.COMMAND)],
)
def test_the_documented_pooler_sets_the_limits_of_each_kind_of_process(
    name: str, limits: sessions.Limits
) -> None:
    page = (ROOT / "docs" / "operating.md").read_text()

    (line,) = [line for line in page.splitlines() if line.startswith(f"{name} = host=")]

    assert line.endswith(f"connect_query='{sessions.statement(limits)}'")
