"""The Docker driver on a real engine."""

import pytest

from tests.support.docker_bench import DockerBench
from tests.support.driver_contract import (
    Bench,
    DeviceContract,
    DriverContract,
    MarkerContract,
    MemoryContract,
    WatchContract,
)

pytestmark = pytest.mark.docker


class TestDocker(DriverContract, DeviceContract, MarkerContract, MemoryContract, WatchContract):
    @pytest.fixture
    def bench(self, docker_bench: DockerBench) -> Bench:
        return docker_bench


@pytest.mark.parametrize("follow", [False, True])
def test_many_lines_arrive_in_few_pieces(docker_bench: DockerBench, follow: bool) -> None:
    uid = docker_bench.run("seq 1 20000; echo error >&2")
    docker_bench.exited(uid)

    pieces = list(docker_bench.driver.logs(uid, follow=follow))

    written = [*(b"%d" % n for n in range(1, 20001)), b"error"]
    assert sorted(b"".join(pieces).splitlines()) == sorted(written)
    assert len(pieces) < 1000
