"""The Docker driver on a real engine."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from clusters.drivers.base import Phase
from tests.support.docker_bench import DockerBench
from tests.support.docker_engine import Engine
from tests.support.driver_contract import (
    Bench,
    DeviceContract,
    DriverContract,
    MarkerContract,
    MemoryContract,
    Program,
    WatchContract,
)

pytestmark = pytest.mark.docker


class TestDocker(DriverContract, DeviceContract, MarkerContract, MemoryContract, WatchContract):
    @pytest.fixture
    def bench(self, docker_bench: DockerBench) -> Bench:
        return docker_bench


class TestOneOfTwoEngines(
    DriverContract, DeviceContract, MarkerContract, MemoryContract, WatchContract
):
    """The contracts, while a container of the same cluster runs on another engine."""

    @pytest.fixture
    def bench(self, docker_bench: DockerBench, other_engine: Engine) -> Iterator[Bench]:
        neighbour = DockerBench(other_engine)
        uid = neighbour.start(Program.SLEEPS, devices=("0", "1"))
        marker = uuid4()
        neighbour.driver.mark(marker, instead_of=())

        yield docker_bench

        (seen,) = neighbour.driver.observe(neighbour.now())
        assert (seen.uid, seen.phase, seen.devices) == (uid, Phase.RUNNING, ("0", "1"))
        assert neighbour.driver.markers() == {marker}


@pytest.mark.parametrize("follow", [False, True])
def test_many_lines_arrive_in_few_pieces(docker_bench: DockerBench, follow: bool) -> None:
    uid = docker_bench.run("seq 1 20000; echo error >&2")
    docker_bench.exited(uid)

    pieces = list(docker_bench.driver.logs(uid, follow=follow))

    written = [*(b"%d" % n for n in range(1, 20001)), b"error"]
    assert sorted(b"".join(pieces).splitlines()) == sorted(written)
    assert len(pieces) < 1000
