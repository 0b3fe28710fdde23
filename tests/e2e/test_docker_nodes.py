"""The real service with three Docker Engines as the nodes of one cluster."""

from collections.abc import Iterator
from typing import Any

import pytest
from docker.models.containers import Container

from benchmarks.service import Service, wait_until
from tests.support import prepared
from tests.support.docker_engine import Engine
from tests.support.docker_image import IMAGE
from tests.support.service import User

pytestmark = pytest.mark.docker

GPUS = {"a": 2, "b": 2, "c": 1}
"""The nodes and the number of their GPUs."""

_QUICK = {
    "RECONCILE_INTERVAL": "1", "SCHEDULER_INTERVAL": "2", "LOST_CONTACT_SECONDS": "3",
    "STOP_GRACE_SECONDS": "1",
}  # fmt: skip


class Rack:
    """A cluster of three nodes with 5 GPUs, connected by the command that operators use."""

    def __init__(self, service: Service, engines: dict[str, Engine]) -> None:
        self.service, self.engines = service, engines
        self.user = User.newcomer(service.url, "ada", patience_s=60)
        self.user.post("/organizations", name="Acme")
        nodes = [{"name": name, "cpu": 1, "ram_mib": 512, "gpu": gpu} for name, gpu in GPUS.items()]
        self.cluster = self.user.post("/clusters", name="rack", nodes=nodes)["id"]
        for name, engine in engines.items():
            devices = [f"--gpu-device=GPU-{number}" for number in range(GPUS[name])]
            self.command("connect_cluster", "rack", "--node", name, "--docker", engine.socket,
                         "--network", "none", "--yes", *devices)  # fmt: skip

    def command(self, *words: str) -> str:
        status, output = self.service.run(*words)
        assert status == 0, output
        return output

    def deploy(self, name: str, **body: Any) -> int:
        wanted = {"image": IMAGE, "command": ["sleep", "600"], "cpu": "100m", "ram_mib": 32}
        return self.user.deploy(name, **(wanted | body))

    def run(self, name: str, **body: Any) -> int:
        deployment = self.deploy(name, **body)
        self.user.wait_for(deployment, "running")
        return deployment

    def states(self) -> dict[str, str]:
        return {n["name"]: n["state"] for n in self.user.list(f"/clusters/{self.cluster}/nodes")}

    def node(self, deployment: int) -> str:
        return str(self.user.get(f"/deployments/{deployment}")["node"]["name"])

    def there(self, name: str) -> dict[str, Container]:
        """Return the running containers on the engine of a node by their ids."""
        return {
            str(container.id): container
            for container in self.engines[name].client.containers.list()
        }


@pytest.fixture(scope="module")
def rack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rack]:
    engines = {name: Engine(live_restore=True) for name in GPUS}
    service = Service(prepared.home(tmp_path_factory.mktemp("nodes") / "home"), **_QUICK)
    try:
        for engine in engines.values():
            engine.start()
        service.start()
        made = Rack(service, engines)
        with made.user:
            yield made
    finally:
        service.stop()
        for engine in engines.values():
            engine.close()


def gpus_of(container: Container) -> list[str]:
    requests = container.attrs["HostConfig"]["DeviceRequests"] or []
    return [device for request in requests for device in request["DeviceIDs"]]


def test_a_deployment_that_needs_a_whole_node_evicts_on_that_node_alone(rack: Rack) -> None:
    small = [rack.run(f"small-{number}", gpu=1, priority=10) for number in range(5)]
    homes = {deployment: rack.node(deployment) for deployment in small}
    assert sorted(homes.values()) == ["a", "a", "b", "b", "c"]
    before = {name: set(rack.there(name)) for name in GPUS}

    large = rack.run("large", gpu=2, priority=90)

    home = rack.node(large)
    assert home in ("a", "b")
    evicted = {pk for pk in small if rack.user.status(pk) == "pending"}
    assert evicted == {pk for pk in small if homes[pk] == home}
    (container,) = rack.there(home).values()
    assert sorted(gpus_of(container)) == ["GPU-0", "GPU-1"]
    others = set(GPUS) - {home}
    assert {name: set(rack.there(name)) for name in others} == {n: before[n] for n in others}
    assert "All is well" in rack.command("verify")


def test_a_node_whose_engine_is_gone_is_given_up_and_the_others_work_on(rack: Rack) -> None:
    running = [row for row in rack.user.list("/deployments") if row["status"] == "running"]
    (large,) = [row["id"] for row in running if row["name"] == "large"]
    home = rack.node(large)
    (other,) = {"a", "b"} - {home}
    kept = {name: set(rack.there(name)) for name in GPUS if name != home}

    rack.engines[home].pause()

    wait_until(lambda: rack.states()[home] == "lost", "the node of the silent engine is lost")
    assert {rack.states()[name] for name in kept} == {"active"}
    assert rack.user.status(large) == "running"
    assert rack.user.get(f"/deployments/{large}")["lost_contact_at"] is not None
    assert rack.node(rack.run("elsewhere")) != home
    rack.command("declare_lost", "rack", "--node", home)
    rack.user.wait_for(large, "running")
    wait_until(lambda: rack.node(large) == other, "it runs on the other node of two GPUs")
    rack.user.wait_for(large, "running")
    assert kept["c"] <= set(rack.there("c"))

    rack.engines[home].resume()

    wait_until(lambda: rack.states()[home] == "active", "the node is back")
    wait_until(lambda: len(rack.there(home)) == 2, "two of the evicted run where it was before")
    assert all(len(gpus_of(container)) == 1 for container in rack.there(home).values())
    wait_until(lambda: "All is well" in rack.command("verify"), "database and engines agree")
