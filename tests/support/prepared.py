"""PostgreSQL folders with a migrated database: made once, and copied for each server of the tests.

initdb and the migrations compute for eight seconds. `.ci/run` names a folder in PREPARED_POSTGRES
that all its parts share; otherwise each session of pytest makes its own.
"""

import fcntl
import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from hypervisor.standalone import servers
from hypervisor.standalone.bootstrap import ROOT
from hypervisor.standalone.home import Home, free_port, write_private
from hypervisor.standalone.process import Process, Service

FOLDER = "PREPARED_POSTGRES"
"""The environment variable that names the folder."""


def postgres(folder: Path, port: int, log: Path) -> tuple[Service, str]:
    """Return a server on that folder, which begins with a migrated database, and its URL."""
    service, url = servers.postgres(folder, port, _password(), log, durable=False)

    def prepare() -> None:
        if not folder.exists():
            _copy(folder)
        service.before_start()

    return replace(service, before_start=prepare), url


def home(path: Path) -> Path:
    """Return a home of `manage.py up` on that path, as after a first start without the admin."""
    made = Home(path)
    made.create()
    write_private(path / "state.json", json.dumps({"postgres_secret": _password()}))
    _copy(path / "postgres")
    return path


def _copy(to: Path) -> None:
    password = _password()
    with _locked() as folder:
        original = folder / "postgres"
        if not original.exists():
            _make(folder / "new", password).rename(original)
    shutil.copytree(original, to)


def _password() -> str:
    """Return the password of all copies."""
    with _locked() as folder:
        file = folder / "password"
        if not file.exists():
            write_private(file, secrets.token_urlsafe())
        return file.read_text()


def _make(folder: Path, password: str) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    log = folder.with_suffix(".log")
    service, url = servers.postgres(folder, free_port(), password, log, durable=False)
    process = Process(service)
    try:
        process.wait_until_ready()
        migrate = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
        subprocess.run(migrate, cwd=ROOT, env={**os.environ, "DATABASE_URL": url}, check=True)
    finally:
        process.stop()
    return folder


@contextmanager
def _locked() -> Iterator[Path]:
    """Lock the folder against other processes, and yield it."""
    folder = Path(os.environ[FOLDER])
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder
