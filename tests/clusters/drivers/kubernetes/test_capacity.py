"""Kubernetes' notation of amounts."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubernetes.utils.quantity import parse_quantity as official

from clusters.drivers.kubernetes.capacity import parse_quantity

suffixes = st.sampled_from(
    ["", "n", "u", "m", *"kMGTPE", "e3", *(f"{letter}i" for letter in "KMGTPE")]
)


@given(st.decimals(0, 10_000, places=3), suffixes)
def test_quantities_are_read_as_by_the_official_client(number: Decimal, suffix: str) -> None:
    assert parse_quantity(f"{number}{suffix}") == official(f"{number}{suffix}")


@pytest.mark.parametrize("text", ["", "Mi", "1K", "1ki", "1 Mi", "1Mi ", "1Mib", "one", "1,5"])
def test_an_invalid_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a Kubernetes quantity"):
        parse_quantity(text)
