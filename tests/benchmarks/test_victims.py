"""The bench `victims`: the victims of a preemptor, compared with an exhaustive search."""

import pytest

from benchmarks.victims import measure


@pytest.mark.parametrize("nodes", [1, 3])
def test_no_victim_is_needless_and_the_harm_is_nearly_the_least(nodes: int) -> None:
    tally = measure(150, 1, nodes)
    assert tally.cases >= 30
    assert tally.needless == 0
    assert tally.same >= 0.97 * tally.cases
