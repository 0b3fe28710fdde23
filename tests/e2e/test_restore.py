"""The steps after a restore, as in docs/operating.md, on a real Docker Engine."""

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

import pytest
from dotenv import dotenv_values

from benchmarks.service import Service, wait_until
from hypervisor.standalone.bootstrap import ROOT
from tests.fixtures.docker import NewEngine
from tests.support.databases import postgres, postgres_tool
from tests.support.docker_engine import Engine
from tests.support.docker_image import IMAGE
from tests.support.service import User

pytestmark = pytest.mark.docker

QUICK = {"RECONCILE_INTERVAL": "1", "SCHEDULER_INTERVAL": "2"}


@contextmanager
def running(service: Service) -> Iterator[Service]:
    try:
        service.start()
        yield service
    finally:
        service.stop()


class Company:
    """A user with a cluster on a real engine."""

    def __init__(self, service: Service, engine: Engine) -> None:
        self.service, self.engine = service, engine
        self.user = User.newcomer(service.url, "bob", patience_s=60)
        self.user.post("/organizations", name="Acme")
        self.cluster = str(self.user.post("/clusters", name="rack", cpu=8, ram_mib="1Gi")["id"])
        socket = ("--docker", engine.socket, "--network", "none", "--yes")
        status, output = service.run("connect_cluster", self.cluster, *socket)
        assert status == 0, output

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.user.__exit__()

    def deploy(self, *words: str) -> dict[str, int]:
        """Submit a deployment for each word, which prints it and keeps running; return the ids."""
        return {
            word: self.user.deploy(
                word, image=IMAGE, cpu=0.5, ram_mib=32, command=["sh", "-c", script(word)]
            )
            for word in words
        }

    def run(self, *words: str) -> dict[str, int]:
        made = self.deploy(*words)
        for deployment in made.values():
            self.user.wait_for(deployment, "running")
        return made

    def renew_marker(self) -> None:
        """Renew the engine's marker, as after a minute: a starting worker does so."""
        former = self.markers()
        self.service.kill("engines")
        wait_until(lambda: self.markers() not in ([], former), "the marker is another one")

    def markers(self) -> list[str]:
        return [str(volume.name) for volume in self.engine.client.volumes.list()]

    def there(self) -> dict[str, str]:
        """Return the words of the containers on the engine, by the container's id."""
        found = self.engine.client.containers.list()
        return {str(c.id): re.sub(r"\W.*", "", c.attrs["Config"]["Cmd"][-1][5:]) for c in found}


Found = Callable[[Service, Engine], Company]


@pytest.fixture
def found() -> Iterator[Found]:
    """Create a company; its user disconnects at the end of the test."""
    with ExitStack() as stack:
        yield lambda service, engine: stack.enter_context(Company(service, engine))


def script(word: str) -> str:
    return f"echo {word}; exec sleep 600"


def verified(service: Service) -> str:
    """Return the output of `verify`, which exits with 1 exactly if something is wrong."""
    status, output = service.run("verify")
    assert status == (0 if "All is well" in output else 1), output
    return output


def steps(part: str) -> list[list[str]]:
    """Return the commands of manage.py in a section of docs/operating.md."""
    page = (ROOT / "docs/operating.md").read_text()
    text = page.split(f"{part}\n")[1].split("\n##")[0]
    return [line.split() for line in re.findall(r"manage\.py (\w+[^\n`]*)", text)]


def test_a_restored_database_adopts_nothing_until_the_documented_steps_are_done(
    tmp_path: Path, new_engine: NewEngine, found: Found
) -> None:
    engine = new_engine(live_restore=True)
    with postgres(tmp_path) as database:
        service = Service(tmp_path / "home", DATABASE_URL=database, **QUICK)
        with running(service):
            company = found(service, engine)
            company.run("kept")
            dump = str(tmp_path / "backup.dump")
            postgres_tool("pg_dump", "--format=custom", f"--file={dump}", database)
            after = company.run("one", "two", "three")
            company.renew_marker()
        postgres_tool("pg_restore", "--clean", "--if-exists", f"--dbname={database}", dump)
        before = company.there()
        assert sorted(before.values()) == ["kept", "one", "three", "two"]

        with running(service):
            again = company.deploy("four", "five", "six")
            assert list(again.values()) == list(after.values())
            output = verified(service)
            assert "engine not claimed by this installation on cluster" in output
            assert output.count("container unknown to this database on cluster") == 3
            assert company.there() == before
            assert {company.user.status(pk) for pk in again.values()} == {"pending"}

            for command in steps("### Restore"):
                words = [company.cluster if word == "CLUSTER" else word for word in command]
                status, output = service.run(*words, *["--yes"] * (words[0] == "claim_engine"))
                assert status == 0, output
            for deployment in again.values():
                company.user.wait_for(deployment, "running")

            assert sorted(company.there().values()) == ["five", "four", "kept", "six"]
            assert {pk for pk, word in before.items() if word == "kept"} <= set(company.there())
            assert "All is well" in verified(service)
            for word, deployment in again.items():
                logs = company.user.text(f"/deployments/{deployment}/logs")
                assert logs.decode().strip() == word


def test_a_copied_home_that_is_started_elsewhere_changes_nothing_of_the_live_service(
    tmp_path: Path, new_engine: NewEngine, found: Found
) -> None:
    engine = new_engine(live_restore=True)
    live = Service(tmp_path / "home", **QUICK)
    with running(live):
        company = found(live, engine)
        company.run("kept")
    shutil.copytree(live.home, tmp_path / "copy")
    copy = Service(tmp_path / "copy", **QUICK)

    with running(live):
        company.run("one", "two", "three")
        before = company.there()
        with running(copy):
            output = verified(copy)
            assert "engine not claimed by this installation on cluster" in output
            for command in (["declare_lost"], ["disconnect_cluster", "--engine-is-gone"]):
                status, output = copy.run(*command, company.cluster)
                assert status == 0, output
            assert company.there() == before
            company.user.wait_for(company.deploy("four")["four"], "running")
        assert set(before) <= set(company.there())
        assert "All is well" in verified(live)


def test_a_hot_copy_on_a_second_server_and_its_claim_are_detected(
    tmp_path: Path, new_engine: NewEngine, found: Found
) -> None:
    engine = new_engine(live_restore=True)
    live = Service(tmp_path / "home", **QUICK)
    (tmp_path / "second").mkdir()
    with running(live), postgres(tmp_path / "second") as database:
        company = found(live, engine)
        company.run("kept")
        dump = str(tmp_path / "backup.dump")
        settings = dotenv_values(live.home / "env")
        postgres_tool("pg_dump", "--format=custom", f"--file={dump}", str(settings["DATABASE_URL"]))
        postgres_tool("pg_restore", "--no-owner", f"--dbname={database}", dump)
        keys = {"CREDENTIALS_KEYS": str(settings["CREDENTIALS_KEYS"])}
        staging = Service(tmp_path / "staging", DATABASE_URL=database, **keys, **QUICK)

        with running(staging):
            output = verified(staging)
            assert "it was on another server" in output
            before = company.there()
            company.user.wait_for(company.deploy("more")["more"], "running")
            assert set(before) <= set(company.there())
            assert "All is well" in verified(live)

            status, output = staging.run("claim_engine", company.cluster, "--yes")
            assert status == 0, output
            assert sorted(company.there().values()) == ["kept"]
            assert "All is well" in verified(staging)

            def live_knows() -> bool:
                return bool(company.user.get(f"/clusters/{company.cluster}")["lost_contact_at"])

            wait_until(live_knows, "the live service notices the claim")
            assert "engine not claimed by this installation" in verified(live)
            assert sorted(company.there().values()) == ["kept"]
