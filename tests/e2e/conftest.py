from collections.abc import Iterator

import pytest

from benchmarks.service import Service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A running service for the module."""
    up = Service(tmp_path_factory.mktemp("e2e") / "home")
    try:
        up.start()
        yield up
    finally:
        up.stop()
