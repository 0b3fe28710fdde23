from collections.abc import Iterator

import pytest

from benchmarks.service import Service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A running service for the module, whose webhooks may call this machine."""
    home = tmp_path_factory.mktemp("e2e") / "home"
    up = Service(home, WEBHOOK_ALLOWED_NETWORKS="127.0.0.0/8")
    try:
        up.start()
        yield up
    finally:
        up.stop()
