"""The Docker driver on a real engine."""

import pytest

from tests.clusters.drivers.contract import (
    Bench,
    DeviceContract,
    DriverContract,
    MemoryContract,
    WatchContract,
)
from tests.clusters.drivers.docker_bench import DockerBench

pytestmark = pytest.mark.docker


class TestDocker(DriverContract, DeviceContract, MemoryContract, WatchContract):
    @pytest.fixture
    def bench(self, docker_bench: DockerBench) -> Bench:
        return docker_bench
