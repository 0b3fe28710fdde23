"""Database servers apart from the tests' own, and PostgreSQL's tools."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypervisor.standalone import servers
from hypervisor.standalone.home import free_port
from hypervisor.standalone.process import Process


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """A database server apart from the service; yields its URL."""
    made, url = servers.postgres(
        folder / "postgres", free_port(), "a-password", folder / "postgres.log", durable=False
    )
    process = Process(made)
    try:
        process.wait_until_ready()
        yield url
    finally:
        process.stop()


def postgres_tool(name: str, *arguments: str) -> None:
    subprocess.run([str(servers.postgres_bin() / name), *arguments], check=True)
