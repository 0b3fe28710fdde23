"""Real engines for tests marked `docker`: `engine` is shared, `new_engine` makes one of its own."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.engines.engine import Engine

NewEngine = Callable[..., Engine]


@pytest.fixture(scope="session")
def _shared_engine() -> Iterator[Engine]:
    engine = Engine()
    try:
        engine.start()
        yield engine
    finally:
        engine.close()


@pytest.fixture
def engine(_shared_engine: Engine) -> Iterator[Engine]:
    """The session's Docker Engine, without containers; a test may kill it."""
    _shared_engine.clear()
    yield _shared_engine
    _shared_engine.resume()


@pytest.fixture
def new_engine() -> Iterator[NewEngine]:
    """Start another Docker Engine, with options of its own, that ends with the test."""
    engines: list[Engine] = []

    def start(**options: Any) -> Engine:
        engines.append(Engine(**options))
        engines[-1].start()
        return engines[-1]

    yield start
    for engine in engines:
        engine.close()
