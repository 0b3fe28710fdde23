"""The bench of latencies while many wait, in a small size, on a real service."""

import pytest

from benchmarks.backlog import measure
from benchmarks.service import Service


@pytest.fixture(scope="module")
def service(own_service: Service) -> Service:
    return own_service


def test_it_measures_an_empty_queue_and_a_full_one(service: Service) -> None:
    empty, full = measure(service.url, waiting=[20], clusters=1, tries=2, seed=0)

    assert (empty.waiting, full.waiting) == (0, 20)
    for row in (empty, full):
        assert len(row.placed) == len(row.explained) == len(row.tried) == 2
        assert min(*row.placed, *row.explained, *row.tried) > 0
    assert str(full.beside(empty)).lstrip().startswith("20 waiting   placed ")
