"""The limits and fences of a container, observed from inside it and in the kernel."""

from collections.abc import Mapping
from dataclasses import replace
from uuid import uuid4

import pytest

from clusters.drivers.base import Cause, ContainerSpec, DriverError, RunAs
from clusters.drivers.docker.containers import CAPABILITIES, MAX_PROCESSES
from clusters.drivers.docker.driver import DockerDriver
from clusters.drivers.docker.labels import label_filter
from clusters.models import Connection
from tests.fixtures.docker import NewEngine
from tests.support.docker_bench import DockerBench
from tests.support.docker_engine import Engine
from tests.support.docker_image import IMAGE
from tests.support.driver_contract import Program

pytestmark = pytest.mark.docker

_BITS = {
    "CHOWN": 0, "DAC_OVERRIDE": 1, "FOWNER": 3, "KILL": 5, "SETGID": 6, "SETUID": 7,
    "NET_BIND_SERVICE": 10,
}  # fmt: skip
"""From capabilities(7)."""


def output(bench: DockerBench, script: str, env: Mapping[str, str] | None = None) -> str:
    """Run a shell script to its end, and return its output."""
    spec = replace(
        bench.spec(Program.SLEEPS, bench.next_run()), command=("sh", "-c", script), env=env or {}
    )
    bench.driver.start(spec, bench.now())
    bench.exited(spec.uid)
    return bench.logs(spec.uid).decode().strip()


def test_a_container_is_limited_to_its_request(docker_bench: DockerBench) -> None:
    spec = replace(
        docker_bench.spec(Program.SLEEPS, docker_bench.next_run()), cpu_milli=250, ram_mib=48
    )

    docker_bench.driver.start(spec, docker_bench.now())

    limits = docker_bench.inspect(spec.uid)["HostConfig"]
    assert limits["NanoCpus"] == 250 * 10**6
    assert limits["Memory"] == limits["MemorySwap"] == 48 * 2**20
    assert limits["ShmSize"] == 24 * 2**20
    assert limits["PidsLimit"] == MAX_PROCESSES


def test_a_container_gets_its_command_and_environment(docker_bench: DockerBench) -> None:
    env = {"GREETING": "hello = world", "EMPTY": ""}

    assert output(docker_bench, 'echo "$GREETING|$EMPTY|$HTTP_PROXY"', env=env) == "hello = world||"


def test_a_container_has_the_documented_capabilities_and_cannot_get_more(
    docker_bench: DockerBench,
) -> None:
    status = output(docker_bench, "grep -E 'CapBnd|CapEff|NoNewPrivs' /proc/self/status")

    allowed = sum(1 << _BITS[name] for name in CAPABILITIES)
    fields = dict(line.split(":\t") for line in status.splitlines())
    assert int(fields["CapBnd"], 16) == int(fields["CapEff"], 16) == allowed
    assert fields["NoNewPrivs"] == "1"


@pytest.mark.parametrize(
    ("run_as", "ids"),
    [(None, "0 0"), (RunAs(12345), "12345 0"), (RunAs(12345, 54321), "12345 54321"),
     (RunAs(0, 54321), "0 54321")],
)  # fmt: skip
def test_a_container_runs_as_the_given_user(
    docker_bench: DockerBench, run_as: RunAs | None, ids: str
) -> None:
    script = ("sh", "-c", "echo $(id -u) $(id -g); sleep 600")
    spec = docker_bench.spec(Program.SLEEPS, docker_bench.next_run())
    docker_bench.driver.start(replace(spec, command=script, run_as=run_as), docker_bench.now())

    docker_bench.wait_for(lambda: docker_bench.logs(spec.uid))

    assert docker_bench.logs(spec.uid).decode() == f"{ids}\n"


def test_a_container_sees_nothing_of_the_machine(docker_bench: DockerBench) -> None:
    uid = docker_bench.start(Program.SLEEPS)

    container = docker_bench.inspect(uid)

    assert container["Mounts"] == []
    host = container["HostConfig"]
    assert host["Privileged"] is False
    assert host["RestartPolicy"]["Name"] == "no"
    assert [host[f"{kind}Mode"] for kind in ("Pid", "UTS", "Userns")] == ["", "", ""]
    assert host["IpcMode"] == "private"
    assert host["Devices"] in (None, [])


def test_the_output_of_a_container_is_bounded(docker_bench: DockerBench) -> None:
    uid = docker_bench.start(Program.SLEEPS)

    config = docker_bench.inspect(uid)["HostConfig"]["LogConfig"]

    assert config == {"Type": "json-file", "Config": {"max-file": "3", "max-size": "10m"}}


def test_a_container_requests_its_assigned_gpus_from_the_engine(
    docker_bench: DockerBench,
) -> None:
    uid = docker_bench.start(Program.SLEEPS, devices=("GPU-5c1", "GPU-a07"))

    container = docker_bench.inspect(uid)

    (request,) = container["HostConfig"]["DeviceRequests"]
    assert request["DeviceIDs"] == ["GPU-5c1", "GPU-a07"]
    assert request["Capabilities"] == [["gpu"]]


def test_an_engine_without_gpu_support_refuses_a_container_and_keeps_nothing(
    new_engine: NewEngine,
) -> None:
    bench = DockerBench(new_engine(gpu=False))
    spec = bench.spec(Program.SLEEPS, bench.next_run(), devices=("0",))

    with pytest.raises(DriverError, match="NVIDIA Container Toolkit") as refused:
        bench.driver.start(spec, bench.now())

    assert (refused.value.cause, refused.value.retriable) == (Cause.NO_DEVICE, False)
    assert bench.engine.client.containers.list(all=True) == []


def test_gpus_without_ids_are_refused(docker_bench: DockerBench) -> None:
    spec = replace(docker_bench.spec(Program.SLEEPS, docker_bench.next_run()), gpu=1)

    with pytest.raises(DriverError, match="list the engine's GPUs") as refused:
        docker_bench.driver.start(spec, docker_bench.now())

    assert refused.value.cause is Cause.NO_DEVICE


@pytest.mark.parametrize(
    ("fields", "cause", "remedy"),
    [
        ({"cpu_milli": 10**6}, Cause.OVER_CAPACITY, "request less"),
        ({"ram_mib": 1}, Cause.INVALID_SPEC, "`ram_mib`"),
        ({"image": "NOT/An Image"}, Cause.INVALID_SPEC, "`image`"),
    ],
)
def test_a_refusal_by_the_engine_names_the_field(
    docker_bench: DockerBench, fields: dict[str, object], cause: Cause, remedy: str
) -> None:
    spec = docker_bench.spec(Program.SLEEPS, docker_bench.next_run())
    spec = replace(spec, **fields)  # type: ignore[arg-type]

    with pytest.raises(DriverError, match=remedy) as refused:
        docker_bench.driver.start(spec, docker_bench.now())

    assert (refused.value.cause, refused.value.retriable) == (cause, False)
    assert docker_bench.engine.client.containers.list(all=True) == []


def test_a_file_that_cannot_be_executed_is_reported(docker_bench: DockerBench) -> None:
    spec = replace(
        docker_bench.spec(Program.SLEEPS, docker_bench.next_run()), command=("/etc/passwd",)
    )
    docker_bench.driver.start(spec, docker_bench.now())

    ending = docker_bench.exited(spec.uid)

    assert (ending.exit_code, ending.cause) == (126, Cause.COMMAND_NOT_FOUND)


def test_containers_can_reach_their_gateway_but_not_each_other(new_engine: NewEngine) -> None:
    """The engine has a firewall, in its own network namespace."""
    engine = new_engine(fenced=True)
    bench = DockerBench(engine, network=Connection.Network.ISOLATED)
    server = bench.run("httpd -f -p 80 -h /etc")
    address = bench.address(server)

    gateway = f"{address.rpartition('.')[0]}.1"

    reached = output(bench, f"nc -w 2 {address} 80 < /dev/null 2> /dev/null && echo yes || echo no")
    way_out = output(bench, f"nc -w 2 {gateway} 9 2>&1 < /dev/null")

    assert reached == "no"
    assert "refused" in way_out


def test_containers_that_start_at_the_same_time_share_one_network(new_engine: NewEngine) -> None:
    engine = new_engine(fenced=True)
    bench = DockerBench(engine, network=Connection.Network.ISOLATED)
    specs = [bench.spec(Program.SLEEPS, bench.next_run()) for _ in range(8)]

    errors = bench.driver.start_all(specs, bench.now())

    assert errors == [None] * 8
    assert len(engine.client.networks.list(filters=label_filter(bench.connection.uid))) == 1


def test_containers_on_an_ordinary_bridge_can_reach_each_other(new_engine: NewEngine) -> None:
    """This shows that the test before can fail."""
    engine = new_engine(fenced=True)
    client = engine.client
    server = client.containers.run(IMAGE, ["httpd", "-f", "-h", "/etc"], detach=True, init=True)
    server.reload()
    address = server.attrs["NetworkSettings"]["IPAddress"]

    # Raises unless it exits with 0.
    client.containers.run(IMAGE, ["nc", "-w", "2", address, "80"])


def test_drivers_of_two_engines_see_only_their_own_containers(
    engine: Engine, new_engine: NewEngine
) -> None:
    """The same run is on both, as after a move."""
    first, second = DockerBench(engine), DockerBench(new_engine())
    spec: ContainerSpec = first.spec(Program.SLEEPS, first.next_run())
    first.driver.start(spec, first.now())
    second.driver.start(spec, second.now())

    first.driver.remove(first.stopped(spec.uid, 0).uid)

    assert first.driver.observe(first.now()) == []
    assert [o.uid for o in second.driver.observe(second.now())] == [spec.uid]
    assert first.driver.probe().engine_id != second.driver.probe().engine_id


def test_another_connection_to_the_same_engine_sees_no_containers(
    docker_bench: DockerBench,
) -> None:
    docker_bench.start(Program.SLEEPS)
    other = DockerDriver(Connection(cluster_id=2, endpoint=docker_bench.engine.socket, uid=uuid4()))

    assert other.observe(docker_bench.now()) == []
    assert docker_bench.engine.client.containers.list(
        filters=label_filter(docker_bench.connection.uid)
    )
