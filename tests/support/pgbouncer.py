"""PgBouncer in transaction mode between the tests and their PostgreSQL."""

import os
import shutil
from pathlib import Path
from urllib.parse import urlsplit

from hypervisor import sessions
from hypervisor.standalone.process import Service
from hypervisor.standalone.servers import answers_sql


def missing() -> str | None:
    """Return why PgBouncer cannot be started, None if it can."""
    if not _program():
        return "PgBouncer is not installed: apt-get install --no-install-recommends pgbouncer"
    return None


def pgbouncer(folder: Path, port: int, url: str, log: Path) -> tuple[Service, str]:
    """Return PgBouncer in front of the PostgreSQL of that URL, and its own URL."""
    server = urlsplit(url)
    configuration = folder / "pgbouncer.ini"

    def prepare() -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        users = folder / "users.txt"
        for path in (users, configuration):
            path.touch(mode=0o600)
        users.write_text(f'"{server.username}" "{server.password}"\n')
        configuration.write_text(
            "[databases]\n"
            f"* = host={server.hostname} port={server.port}"
            f" connect_query='{sessions.statement(sessions.COMMAND)}'\n"
            "[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = scram-sha-256\nauth_file = {users}\n"
            "pool_mode = transaction\ndefault_pool_size = 60\nmax_client_conn = 500\n"
            "ignore_startup_parameters = options\n"
            # It refuses to run as root, and gives its rights up after it has read its files.
            f"{'user = nobody' if os.geteuid() == 0 else ''}\n"
        )

    own = server._replace(netloc=f"{server.username}:{server.password}@127.0.0.1:{port}").geturl()
    service = Service(
        name="pgbouncer",
        command=[_program() or "pgbouncer", str(configuration)],
        log=log,
        is_ready=lambda: answers_sql(own),
        before_start=prepare,
    )
    return service, own


def _program() -> str | None:
    return shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
