"""Followers of events lose and repeat nothing, whichever process is killed."""

import pytest

from benchmarks import followers
from benchmarks.service import Service


@pytest.fixture(scope="module")
def service(own_service: Service) -> Service:
    return own_service


def test_followers_get_each_event_once_while_processes_are_killed(service: Service) -> None:
    report = followers.run(
        service, followers=20, producers=4, rate=20, seconds=1, kill_s=1,
        victims=("events", "web", "postgres"),
    )  # fmt: skip

    assert report.killed.keys() == {"events", "web", "postgres"}
    assert report.events > 0
    assert all(seen.connections > 1 for seen in report.followers)
    assert report.problems == []
