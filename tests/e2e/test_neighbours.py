"""The bench of a large organization's neighbour runs on a real service."""

from benchmarks import neighbours
from benchmarks.service import Service


def test_both_organizations_are_measured(service: Service) -> None:
    report = neighbours.measure(service.url, waiting=20, clusters=1, tries=1, seed=0)

    assert (len(report.idle), len(report.busy)) == (1, 1)
    assert "20 waiting on 1 full clusters" in str(report)
