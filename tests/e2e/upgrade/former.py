"""The former release: its code from the history, its web server, and calls of its main routes."""

import io
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.request import urlopen

from benchmarks.client import Client
from hypervisor.standalone.bootstrap import ROOT
from hypervisor.standalone.home import free_port
from hypervisor.standalone.process import Process, Service

COMMIT = "391347ed7c558a9c5616941264f488f9c8a24e35"
HERE = Path(__file__).parent
DUMP = HERE / "former.sql.gz"
"""A database that the former release has filled."""
STATEMENTS = HERE / "former_statements.jsonl.gz"
"""The statements of the former release's web during one visit after the dump, one per line."""

_PASSWORD = "good-for-more-than-one-release"


def is_in_history() -> bool:
    """Return whether the history has the former release, which a shallow clone may not."""
    if not shutil.which("git"):
        return False
    found = subprocess.run(
        ["git", "cat-file", "-e", f"{COMMIT}^{{commit}}"],
        cwd=ROOT, stderr=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    return found.returncode == 0


class Former:
    """The former release's code in `folder`, with its own packages, run on a database."""

    def __init__(self, folder: Path, database: str) -> None:
        self.folder = folder
        code = subprocess.run(
            ["git", "archive", COMMIT], cwd=ROOT, stdout=subprocess.PIPE, check=True
        )
        with tarfile.open(fileobj=io.BytesIO(code.stdout)) as archive:
            archive.extractall(folder, filter="data")
        self._python = str(folder / ".venv" / "bin" / "python")
        self._install()
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(folder),
            "DJANGO_SETTINGS_MODULE": "hypervisor.settings",
            "ENVIRONMENT": "development",
            "DATABASE_URL": database,
            # No worker handles its messages, and none of another service should.
            "REDIS_URL": os.environ["REDIS_URL"].rpartition("/")[0] + "/15",
            "HYPERVISOR_HOME": str(folder / "home"),
            "RATE_LIMIT_REGISTER": "1000/min",
            "RATE_LIMIT_TOKEN": "1000/min",
        }

    def _install(self) -> None:
        """Install what the former release's lock names; raise CalledProcessError if that fails."""
        base: str = getattr(sys, "_base_executable", sys.executable)
        environment = {
            k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")
        }
        subprocess.run(
            [base, "-m", "hypervisor.bootstrap", "production"],
            cwd=self.folder, env=environment, check=True,
        )  # fmt: skip

    def run(self, *arguments: str) -> None:
        """Run a Django command of the former release."""
        command = [self._python, "-P", "-m", "django", *arguments]
        subprocess.run(command, cwd=self.folder, env=self.environment, check=True)

    @contextmanager
    def web(self, *arguments: str) -> Iterator[str]:
        """Run its web server; yield its URL."""
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        script = [self._python, "-P", str(HERE / "former_web.py"), str(port), *arguments]
        service = Service(
            name="former-web", command=script, log=self.folder / "web.log",
            is_ready=lambda: _is_live(url), environment=self.environment,
        )  # fmt: skip
        process = Process(service)
        try:
            process.wait_until_ready()
            yield url
        finally:
            process.stop()


class Person(Client):
    """A user with the same password in the dump and in new registrations."""

    @classmethod
    def newcomer(cls, url: str, username: str, patience_s: float = 0) -> Self:
        client = cls(url, patience_s=patience_s)
        client.post("/register", username=username, password=_PASSWORD)
        client.log_in(username)
        return client

    def log_in(self, username: str, password: str = _PASSWORD) -> None:
        pair = self.post("/token", username=username, password=password)
        self._token = self.post("/token/refresh", refresh_token=pair["refresh_token"])[
            "access_token"
        ]

    def deploy(self, **fields: Any) -> int:
        return int(self.post("/deployments", **(request() | fields))["id"])


def request(**fields: Any) -> dict[str, Any]:
    return {"name": "train", "image": "ml/train:1", "cpu": 1, "ram_mib": 512} | fields


def visit(url: str, name: str) -> int:
    """Call the main routes as two new users, and stop alice's deployment; return the organization.

    Raises ApiError or OSError as soon as a call fails.
    """
    with Person.newcomer(url, name) as owner, Person.newcomer(url, f"{name}-2") as colleague:
        organization = int(owner.post("/organizations", name=f"{name} & Co.")["id"])
        invite = owner.post(f"/organizations/{organization}/regenerate-invite")
        colleague.post("/join-organization", invite_code=invite["invite_code"])
        member = f"/organizations/{organization}/members/{colleague.get('/me')['id']}"
        owner.patch(member, role="admin")
        owner.patch(f"/organizations/{organization}", name=f"{name} and others")
        _supply(colleague)
        _demand(owner)
        owner.delete(member)
        owner.list("/organizations")
    with Person(url) as alice:
        alice.log_in("alice")
        for deployment in alice.list("/deployments?status=running")[:1]:
            alice.post(f"/deployments/{deployment['id']}/stop")
    return organization


def _supply(admin: Person) -> None:
    cluster = f"/clusters/{admin.post('/clusters', name='rack', cpu=8, ram_mib=16384)['id']}"
    admin.patch(cluster, gpu=2)
    admin.post(f"{cluster}/cordon")
    admin.post(f"{cluster}/uncordon")
    admin.delete(f"/clusters/{admin.post('/clusters', name='spare', cpu=1, ram_mib=512)['id']}")
    admin.list("/clusters")


def _demand(owner: Person) -> None:
    first = owner.deploy(env={"EPOCHS": "3", "HUB_TOKEN": {"secret": "hush"}})
    second = f"/deployments/{owner.deploy(depends_on=[first])}"
    owner.post("/deployments/bulk", deployments=[request(gpu=1), request(priority=80)])
    owner.list("/deployments?status=pending")
    owner.patch(second, priority=70)
    for verb in ("hold", "release", "cancel", "start"):
        owner.post(f"{second}/{verb}")
    for what in ("", "/explain", "/events"):
        owner.get(f"{second}{what}")
    third = f"/deployments/{owner.deploy()}"
    owner.post(f"{third}/cancel")
    owner.delete(third)


def _is_live(url: str) -> bool:
    try:
        with urlopen(f"{url}/healthz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
