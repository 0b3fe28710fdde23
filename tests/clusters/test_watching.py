"""Changes on an engine are noticed at once, and an engine that goes is not the end of it."""

import pytest
from django.core.cache import cache

from clusters import connections
from clusters.connections import Route
from clusters.models import Cluster, Connection
from clusters.wakeups import RECONCILE, begin
from clusters.watching import keep_watch
from tests.support.docker_bench import DockerBench
from tests.support.docker_engine import Engine, wait_until
from tests.support.driver_contract import Program

pytestmark = [pytest.mark.django_db, pytest.mark.docker]


@pytest.fixture
def bench(forge: Cluster, engine: Engine) -> DockerBench:
    """The engine of forge, and a driver for it."""
    route = Route("docker", engine.socket, network=Connection.Network.NONE)
    return DockerBench(engine, connection=connections.connect(forge, actor="olga", route=route))


def is_asked_for(cluster: Cluster) -> bool:
    return cache.get(f"wakeup:{RECONCILE}:{cluster.pk}") is not None


def changes_are_noticed(cluster: Cluster, bench: DockerBench) -> bool:
    """Make a change; say whether somebody asks for a look at it."""
    keep_watch(cluster.pk)
    begin(RECONCILE, cluster.pk)
    bench.exited(bench.start(Program.SUCCEEDS))
    return is_asked_for(cluster)


def test_a_change_on_the_engine_asks_for_a_look(forge: Cluster, bench: DockerBench) -> None:
    wait_until(lambda: changes_are_noticed(forge, bench), "the change is noticed")


def test_an_engine_that_comes_back_is_watched_again(forge: Cluster, bench: DockerBench) -> None:
    wait_until(lambda: changes_are_noticed(forge, bench), "the change is noticed")
    bench.engine.kill()
    bench.engine.start()

    wait_until(lambda: changes_are_noticed(forge, bench), "the change is noticed again")
