from collections.abc import Iterator

import pytest
from django.core.cache import cache

from hypervisor.metrics import page


@pytest.fixture(autouse=True)
def no_kept_text(db: None) -> Iterator[None]:
    """Let each test read the figures of its own rows."""
    yield
    cache.delete(page._KEY)
    page._own.clear()
