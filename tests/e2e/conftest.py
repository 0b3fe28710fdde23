from collections.abc import Iterator

import pytest

from tests.e2e.service import Up


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A running service of the module's own."""
    up = Up(tmp_path_factory.mktemp("e2e") / "home")
    try:
        up.start()
        yield up
    finally:
        up.stop()
