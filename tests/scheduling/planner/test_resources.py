"""Amounts as text: exact, and the same as in the rest of the product."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusters import models
from clusters.resources import describe
from scheduling.planner.resources import DIMENSIONS, Resources, in_words


def test_the_dimensions_are_those_of_the_tables() -> None:
    assert DIMENSIONS == models.DIMENSIONS


@given(st.integers(0, 10**10), st.integers(0, 2**40), st.integers(0, 10**6))
def test_the_planner_writes_amounts_as_the_rest_of_the_product_does(
    cpu: int, ram: int, gpu: int
) -> None:
    assert str(Resources(cpu, ram, gpu)) == describe(cpu, ram, gpu)


@pytest.mark.parametrize(
    ("amounts", "words"),
    [
        ({"cpu_milli": 1_234_567}, "1,234.567 CPU"),
        ({"cpu_milli": 500, "gpu": 2}, "0.5 CPU, 2 GPU"),
        ({"ram_mib": 1025}, "1,025 MiB RAM"),
        ({"ram_mib": 2048}, "2 GiB RAM"),
        ({}, "nothing"),
    ],
)
def test_no_digit_of_an_amount_is_lost(amounts: dict[str, int], words: str) -> None:
    assert in_words(amounts) == words
