import pytest

from scheduling.monitoring.histogram import histogram, merge, quantile


@pytest.mark.parametrize("seconds", [0.4, 1, 7, 59, 3600, 86400])
def test_a_quantile_is_right_within_20_percent(seconds: float) -> None:
    found = quantile(histogram([seconds] * 10), 0.5)

    assert found is not None
    assert max(seconds, 1) <= found <= max(seconds, 1) * 1.2


def test_histograms_of_parts_add_up_to_that_of_the_whole() -> None:
    parts, whole = ([3, 50], [1, 9000, 9001]), [3, 50, 1, 9000, 9001]

    assert merge(histogram(part) for part in parts) == histogram(whole)


def test_an_empty_histogram_has_no_quantile() -> None:
    assert quantile(histogram([]), 0.95) is None


def test_the_95th_percentile_shows_the_tail() -> None:
    counts = histogram([1] * 90 + [600] * 10)

    assert (quantile(counts, 0.5), round(quantile(counts, 0.95) or 0)) == (1.0, 709)
