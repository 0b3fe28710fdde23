import pytest

from clusters.capacity import Capacity
from clusters.models import Connection
from clusters.services import create
from orgs.models import Organization
from tests.support.driver_contract import Bench, DriverContract, MemoryContract
from tests.support.simulated_bench import SimulatedBench

pytestmark = pytest.mark.django_db


class TestSimulated(DriverContract, MemoryContract):
    @pytest.fixture
    def bench(self, acme: Organization) -> Bench:
        capacity = Capacity(8000, 16384, 0)
        own, other = (
            create(actor="alice", organization=acme, name=name, capacity=capacity)
            for name in ("own", "other")
        )
        return SimulatedBench(Connection(cluster=own), Connection(cluster=other))
