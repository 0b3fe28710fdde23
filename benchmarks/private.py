"""Private servers and databases for benches that fill them with millions of rows."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import psycopg
from django.conf import settings
from django.core.management.base import CommandError
from django.db import connection
from psycopg import sql

from accounts.models import User
from benchmarks.history import History, fill
from clusters import services as clusters
from clusters.capacity import Capacity
from hypervisor.standalone import servers
from hypervisor.standalone.home import free_port
from hypervisor.standalone.process import Process
from orgs import services as organizations
from orgs.feed.numbering import number_events
from orgs.models import Organization
from scheduling.cycle import working_copy

HERE = "--here"
"""The option of a bench that uses the database of the settings instead of private servers."""

CLUSTERS = 4


def repeat_on_private_servers(arguments: Sequence[str]) -> None:
    """Run this bench again, with HERE, on servers configured as those of `manage.py up`.

    Raises CommandError if it fails.
    """
    with TemporaryDirectory(prefix="hypervisor-bench-") as folder, ExitStack() as stack:
        home = Path(folder)
        environment = {**os.environ, "ENVIRONMENT": "development", "HYPERVISOR_HOME": folder}
        for name, make in (("DATABASE_URL", servers.postgres), ("REDIS_URL", servers.valkey)):
            service, environment[name] = make(
                home / name.lower(), free_port(), "private", home / f"{name.lower()}.log"
            )
            process = Process(service)
            stack.callback(process.stop)
            process.wait_until_ready()
        for command in (["migrate", "--verbosity", "0"], ["bench", *arguments, HERE]):
            done = subprocess.run(
                [sys.executable, "manage.py", *command], cwd=settings.BASE_DIR, env=environment
            )
            if done.returncode:
                raise CommandError(f"`{' '.join(command)}` failed.")


@contextmanager
def copies(*names: str) -> Iterator[None]:
    """Create copies of the migrated database of the settings, and drop them in the end."""
    original = str(connection.settings_dict["NAME"])
    connection.close()
    with _server() as server:
        try:
            for name in names:
                server.execute(_statement("CREATE DATABASE {} TEMPLATE {}", name, original))
            yield
        finally:
            connection.close()
            for name in names:
                server.execute(_statement("DROP DATABASE IF EXISTS {} WITH (FORCE)", name))


@contextmanager
def using(name: str) -> Iterator[None]:
    """Let Django use this database of the server in the block."""
    former = str(connection.settings_dict["NAME"])
    _switch(name)
    try:
        yield
    finally:
        _switch(former)


def _switch(name: str) -> None:
    connection.close()
    connection.settings_dict["NAME"] = name
    working_copy.forget_all()  # the copy is that of the former database


def found(history: History, *, number: int = CLUSTERS, spare: int = 0) -> tuple[User, Organization]:
    """Create an operator and an organization with this history and a number of clusters for it.

    Each cluster has as many slots as active deployments, and `spare` ones.
    """
    slots = -(-history.active // number) + spare
    capacity = Capacity(cpu_milli=1000 * slots, ram_mib=8192 * slots, gpu=slots)
    user = User.objects.create_superuser("bench", password=None)
    organization = organizations.create(owner=user, name="Bench")
    for rack in range(number):
        clusters.create(
            actor="bench", organization=organization, name=f"rack-{rack}", capacity=capacity
        )
    with own_session() as session:
        fill(session, history, organization=organization.pk, user=user.pk)
    number_events()
    return user, organization


def own_session() -> "psycopg.Connection[tuple[object, ...]]":
    """Return a session of its own on the database that Django uses, in autocommit mode."""
    parameters: dict[str, Any] = connection.get_connection_params()
    return psycopg.connect(**parameters, autocommit=True)


def cpu_seconds() -> tuple[float, float]:
    """Return the CPU seconds of this process, and of the one that PostgreSQL has for it here."""
    connection.ensure_connection()
    times = psutil.Process(connection.connection.info.backend_pid).cpu_times()
    return time.process_time(), times.user + times.system


def _server() -> "psycopg.Connection[tuple[object, ...]]":
    with using("postgres"):
        return own_session()


def _statement(text: str, *names: str) -> sql.Composed:
    return sql.SQL(text).format(*map(sql.Identifier, names))
