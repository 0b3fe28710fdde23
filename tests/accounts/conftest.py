import pytest

from tests.fixtures.rates import Rates


@pytest.fixture(autouse=True)
def no_rates(rates: Rates) -> None:
    """There are no rate limits until a test sets one."""
