"""Changes on an engine are noticed at once, also after the engine was restarted."""

import pytest
from django.core.cache import cache

from clusters import connections
from clusters.connections import Route
from clusters.models import Cluster, Connection
from clusters.wakeups import begin
from clusters.watching import keep_watch
from tests.support.docker_bench import DockerBench
from tests.support.docker_engine import Engine, wait_until
from tests.support.driver_contract import Program
from tests.support.reconcile import only_engine

pytestmark = [pytest.mark.django_db, pytest.mark.docker]


@pytest.fixture
def bench(forge: Cluster, engine: Engine) -> DockerBench:
    """The engine of forge, and a driver for it."""
    route = Route("docker", engine.socket, network=Connection.Network.NONE)
    connection = connections.connect(forge, actor="olga", route=route)
    forge.refresh_from_db()
    return DockerBench(engine, connection=connection)


def is_requested(cluster: Cluster) -> bool:
    task, subject = only_engine(cluster).wakeup
    return cache.get(f"wakeup:{task}:{subject}") is not None


def changes_are_noticed(cluster: Cluster, bench: DockerBench) -> bool:
    """Make a change on the engine; return whether a reconcile was requested."""
    keep_watch(only_engine(cluster))
    begin(*only_engine(cluster).wakeup)
    bench.exited(bench.start(Program.SUCCEEDS))
    return is_requested(cluster)


def test_a_change_on_the_engine_requests_a_reconcile(forge: Cluster, bench: DockerBench) -> None:
    wait_until(lambda: changes_are_noticed(forge, bench), "the change is noticed")


def test_an_engine_that_comes_back_is_watched_again(forge: Cluster, bench: DockerBench) -> None:
    wait_until(lambda: changes_are_noticed(forge, bench), "the change is noticed")
    bench.engine.kill()
    bench.engine.start()

    wait_until(lambda: changes_are_noticed(forge, bench), "the change is noticed again")
