"""A delayed request for a reconcile is sent when it is due, by the same process."""

import itertools
import time

import pytest
from django.core.cache import cache

from clusters import wakeups
from tests.support.docker_engine import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

_clusters = itertools.count(10**6)


def is_requested(cluster: int) -> bool:
    return cache.get(f"wakeup:{wakeups.RECONCILE}:{cluster}") is not None


def test_a_delayed_request_is_sent_when_it_is_due_and_not_before() -> None:
    cluster, began = next(_clusters), time.monotonic()

    wakeups.request((wakeups.RECONCILE, cluster), delay_s=0.3)
    assert not is_requested(cluster)
    wait_until(lambda: is_requested(cluster), "the request is sent")

    assert time.monotonic() - began >= 0.3


def test_the_earliest_of_several_requests_counts() -> None:
    cluster = next(_clusters)

    wakeups.request((wakeups.RECONCILE, cluster), delay_s=600)
    wakeups.request((wakeups.RECONCILE, cluster), delay_s=0.05)
    wakeups.request((wakeups.RECONCILE, cluster), delay_s=300)

    wait_until(lambda: is_requested(cluster), "the earlier request is sent")
    assert (wakeups.RECONCILE, cluster) not in wakeups._timers
