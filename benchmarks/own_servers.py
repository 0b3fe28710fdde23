"""Servers and a database for benches that measure parts of the product without its processes."""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from django.conf import settings
from django.core.management.base import CommandError

from hypervisor.standalone import servers
from hypervisor.standalone.home import free_port
from hypervisor.standalone.process import Process


@contextmanager
def own_servers() -> Iterator[Mapping[str, str]]:
    """Run PostgreSQL and Valkey as `up` runs them; yield the settings of a service that uses them.

    The database has the product's tables and no rows, and no process of the product uses it.
    """
    with TemporaryDirectory(prefix="hypervisor-bench-") as name, ExitStack() as running:
        folder, urls = Path(name), []
        for make in (servers.postgres, servers.valkey):
            service, url = make(
                folder / make.__name__, free_port(), secrets.token_urlsafe(),
                folder / f"{make.__name__}.log",
            )  # fmt: skip
            process = Process(service)
            running.callback(process.stop)
            process.wait_until_ready()
            urls.append(url)
        environment = {
            **os.environ, "DATABASE_URL": urls[0], "REDIS_URL": urls[1],
            "ENVIRONMENT": "development", "SECRET_KEY": secrets.token_urlsafe(50),
            "CREDENTIALS_KEYS": "", "HYPERVISOR_HOME": str(folder / "home"),
        }  # fmt: skip
        manage(environment, "migrate", "--verbosity", "0")
        yield environment


def manage(environment: Mapping[str, str], *arguments: str) -> None:
    """Run a command of manage.py with these settings. Raises CommandError if it fails."""
    command = [sys.executable, "manage.py", *arguments]
    done = subprocess.run(command, cwd=settings.BASE_DIR, env=environment, check=False)
    if done.returncode:
        raise CommandError(f"{' '.join(command[1:])} failed.")
