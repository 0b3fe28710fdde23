"""A reconcile that is asked for in a while is asked for then, by this process."""

import itertools
import time

import pytest
from django.core.cache import cache

from clusters import wakeups
from tests.support.docker_engine import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

_clusters = itertools.count(10**6)


def is_asked(cluster: int) -> bool:
    return cache.get(f"wakeup:{wakeups.RECONCILE}:{cluster}") is not None


def test_it_is_asked_for_when_the_time_has_come_and_not_before() -> None:
    cluster, began = next(_clusters), time.monotonic()

    wakeups.request_reconcile(cluster, delay_s=0.3)
    assert not is_asked(cluster)
    wait_until(lambda: is_asked(cluster), "it is asked for")

    assert time.monotonic() - began >= 0.3


def test_the_earlier_of_two_counts() -> None:
    cluster = next(_clusters)

    wakeups.request_reconcile(cluster, delay_s=600)
    wakeups.request_reconcile(cluster, delay_s=0.05)
    wakeups.request_reconcile(cluster, delay_s=300)

    wait_until(lambda: is_asked(cluster), "the earlier one")
    assert (wakeups.RECONCILE, cluster) not in wakeups._alarms
