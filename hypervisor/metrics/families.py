"""Families of metrics, as the client library writes them."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from scheduling.monitoring.totals import BOUNDS, INFINITE, SUM

Samples = Iterable[tuple[Sequence[object], float]]
"""The values of the labels, and the value."""


def gauge(name: str, meaning: str, labels: Sequence[str], samples: Samples) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, meaning, labels=labels)
    for values, value in samples:
        family.add_metric(list(map(str, values)), float(value))
    return family


def number(name: str, meaning: str, value: float) -> GaugeMetricFamily:
    """Return a gauge without labels."""
    return gauge(name, meaning, (), [((), value)])


def counter(
    name: str, meaning: str, labels: Sequence[str], samples: Samples
) -> CounterMetricFamily:
    """Return a counter, to whose name the library adds `_total`."""
    family = CounterMetricFamily(name, meaning, labels=labels)
    for values, value in samples:
        family.add_metric(list(map(str, values)), value)
    return family


def histogram(
    name: str,
    meaning: str,
    labels: Sequence[str],
    samples: Iterable[tuple[Sequence[object], str, Mapping[str, float]]],
) -> HistogramMetricFamily:
    """Return a histogram from the labels, the total's name, and its values by bound."""
    family = HistogramMetricFamily(name, meaning, labels=labels)
    for values, total, found in samples:
        buckets, many = [], 0.0
        for bound in (*BOUNDS[total], INFINITE):
            many += found.get(bound, 0)
            buckets.append((bound, many))
        family.add_metric(list(map(str, values)), buckets, found.get(SUM, 0))
    return family


Totals = Mapping[tuple[int | None, str], Mapping[str, float]]
"""By organization, or None, and name: the values by label."""


def by_name(rows: Collection[tuple[int | None, str, str, float]]) -> Totals:
    found: dict[tuple[int | None, str], dict[str, float]] = defaultdict(dict)
    for organization, name, label, value in rows:
        found[organization, name][label] = value
    return defaultdict(dict, found)
