from collections.abc import Iterator

import pytest

from tests.support.docker_bench import DockerBench
from tests.support.docker_engine import Engine
from tests.support.registry import Registry


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry() as registry:
        yield registry


@pytest.fixture
def docker_bench(engine: Engine, registry: Registry, embedded_servers: None) -> DockerBench:
    """The session's Docker Engine and a driver for it; drivers keep their records in Valkey."""
    return DockerBench(engine, registry)
