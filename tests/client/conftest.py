"""The client as a user installs it: its wheel in an environment of its own."""

import os
import secrets
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.client import PASSWORD, Client
from benchmarks.service import Service
from hypervisor.standalone.bootstrap import ROOT

# For tests of functions, which need neither a wheel nor a service.
sys.path.append(str(ROOT / "client"))

Completed = subprocess.CompletedProcess[str]
Run = Callable[..., Completed]


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a virtual environment with the client's wheel."""
    folder = tmp_path_factory.mktemp("client")
    venv.create(folder / "venv", with_pip=False)
    # The environment of the tests itself has no pip.
    pip = [
        str(Path(sys.base_prefix) / "bin" / "python3"),
        "-m",
        "pip",
        "--quiet",
        "--disable-pip-version-check",
    ]
    for command in (
        [*pip, "wheel", "--no-deps", "--wheel-dir", str(folder), str(ROOT / "client")],
        [*pip, "--python", str(folder / "venv" / "bin" / "python"), "install",
         "--find-links", str(folder), "hypervisor-client"],
    ):  # fmt: skip
        subprocess.run(command, check=True, cwd=folder)
    return folder / "venv" / "bin"


@pytest.fixture
def hv(environment: Path, tmp_path: Path) -> Run:
    """Run `hv` with contexts of its own; return what it printed."""

    def run(
        *arguments: str, given: str = "", **variables: str
    ) -> "subprocess.CompletedProcess[str]":
        own = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LANG": "C.UTF-8"}
        return subprocess.run(
            [str(environment / "hv"), *arguments],
            input=given, capture_output=True, text=True, timeout=60, check=False,
            env={**own, **variables},
        )  # fmt: skip

    return run


@pytest.fixture(scope="module")
def ada(service: Service) -> Iterator[Client]:
    """A person with an organization of two GPUs; of each module another one."""
    with Client.newcomer(service.url, f"ada-{secrets.token_hex(4)}", patience_s=10) as client:
        client.post("/organizations", name="Engines")
        client.post("/clusters", name="rack-1", cpu=8, ram_mib=32768, gpu=2)
        yield client


@pytest.fixture
def log_in(hv: Run, service: Service, ada: Client) -> None:
    name = ada.get("/me")["username"]
    done = hv("login", service.url, "--user", name, "--password-stdin", given=PASSWORD + "\n")
    assert done.returncode == 0, done.stderr
