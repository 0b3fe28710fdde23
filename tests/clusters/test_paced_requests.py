"""Requests for cycles in a burst are merged, and the last one is always served by a message."""

from itertools import pairwise
from time import monotonic

import pytest
from django.core.cache.backends.locmem import LocMemCache

from clusters import wakeups
from clusters.wakeups import RECONCILE, RUN_CYCLE, Wakeup
from tests.support.docker_engine import wait_until

_HOUR = 3600.0
CYCLE: Wakeup = (RUN_CYCLE, 7)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Wakeup]:
    """The messages that a new sender sends, with an hour between those of a burst."""
    messages: list[Wakeup] = []
    assert wakeups.flush()  # The requests of other tests are not among the messages.
    monkeypatch.setattr(wakeups, "_PACE_SECONDS", _HOUR)
    monkeypatch.setattr(wakeups, "_send", lambda task, pk, _caller: messages.append((task, pk)))
    monkeypatch.setattr(wakeups, "_sender", wakeups._Sender())
    cache = LocMemCache("paces", {})
    cache.clear()
    monkeypatch.setattr(wakeups, "cache", cache)
    return messages


def request_one_by_one(wakeup: Wakeup, count: int, sent: list[Wakeup]) -> None:
    before = len(sent)
    for number in range(1, count + 1):
        wakeups.request_at_once(wakeup)
        wait_until(lambda: len(sent) - before == number, "the request is sent")  # noqa: B023


def test_the_first_requests_after_a_pause_are_sent_at_once(sent: list[Wakeup]) -> None:
    request_one_by_one(CYCLE, wakeups._BURST, sent)


def test_the_further_requests_of_a_burst_become_one_message(sent: list[Wakeup]) -> None:
    request_one_by_one(CYCLE, wakeups._BURST, sent)
    for _ in range(100):
        wakeups.request_at_once(CYCLE)
    assert sent == [CYCLE] * wakeups._BURST

    assert wakeups.flush()

    assert sent == [CYCLE] * (wakeups._BURST + 1)


def test_a_burst_delays_no_other_subject(sent: list[Wakeup]) -> None:
    request_one_by_one(CYCLE, wakeups._BURST, sent)
    wakeups.request_at_once(CYCLE)

    request_one_by_one((RUN_CYCLE, 8), 1, sent)
    request_one_by_one((RECONCILE, 7), wakeups._BURST + 1, sent)


def test_a_paced_request_is_sent_when_it_is_due(
    sent: list[Wakeup], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wakeups, "_PACE_SECONDS", 0.01)

    request_one_by_one(CYCLE, 3 * wakeups._BURST, sent)


def test_messages_are_due_a_pace_apart_after_the_burst_and_at_once_after_a_pause() -> None:
    pace, gap = wakeups._Pace(), wakeups._PACE_SECONDS
    for _ in range(wakeups._BURST):
        assert pace.due(CYCLE, 100.0) == 100.0
        pace.count(CYCLE, 1, 100.0)

    assert pace.due(CYCLE, 100.0) == pytest.approx(100 + gap)
    pace.count(CYCLE, 1, 100 + gap)
    assert pace.due(CYCLE, 100 + gap) == pytest.approx(100 + 2 * gap)
    assert pace.due(CYCLE, 101.0) == 101.0


def gaps(rate: int, count: int) -> list[float]:
    """Return the times between messages for this many requests a second, after the burst."""
    pace, now, sent = wakeups._Pace(), 100.0, [100.0]
    for _ in range(count):
        due = pace.due(CYCLE, now)
        pace.count(CYCLE, max(1, round((due - sent[-1]) * rate)), due)
        sent.append(due)
        now = due + 1 / rate
    return [after - before for before, after in pairwise(sent)][-5:]


def test_the_faster_the_requests_come_the_longer_is_the_pace() -> None:
    assert gaps(20, 50) == pytest.approx([wakeups._PACE_SECONDS] * 5)
    assert gaps(100, 50) == pytest.approx([wakeups._LONGEST_PACE] * 5)
    assert gaps(10_000, 50) == pytest.approx([wakeups._LONGEST_PACE] * 5)


def test_a_request_after_fast_ones_and_a_pause_is_sent_at_once() -> None:
    pace = wakeups._Pace()
    for _ in range(wakeups._BURST + 1):
        pace.count(CYCLE, 1000, pace.due(CYCLE, 100.0))

    # All but the last were sent without a wait, so as many paces have to pass.
    last = pace.due(CYCLE, 100.0)
    assert last - 100.0 <= (wakeups._BURST + 1) * wakeups._LONGEST_PACE
    assert pace.due(CYCLE, last + wakeups._LONGEST_PACE) == last + wakeups._LONGEST_PACE


def test_requests_are_counted_by_the_message_that_serves_them(
    sent: list[Wakeup], monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[int] = []

    def count(_pace: object, _wakeup: Wakeup, requests: int, _now: float) -> float:
        counted.append(requests)
        return 0.0

    monkeypatch.setattr(wakeups._Pace, "count", count)
    monkeypatch.setattr(wakeups._Pace, "due", lambda *given: _HOUR + given[2])

    for _ in range(3):
        wakeups.request_at_once(CYCLE)
    assert wakeups.flush()
    wakeups.request_at_once(CYCLE)
    assert wakeups.flush()

    assert counted == [3, 1]


def test_a_long_pace_holds_for_all_processes_until_it_has_passed(
    sent: list[Wakeup], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wakeups, "_PACE_SECONDS", 0.1)
    monkeypatch.setattr(wakeups, "_LONGEST_PACE", _HOUR)
    first, second = wakeups._Sender(), wakeups._Sender()
    wakeups._share_pace(CYCLE, 0.3)

    began = monotonic()
    second.add((RUN_CYCLE, 8))
    second.add(CYCLE)
    wait_until(lambda: len(sent) == 2, "both are sent")
    assert monotonic() - began >= 0.25
    assert sent == [(RUN_CYCLE, 8), CYCLE]

    wakeups._share_pace(CYCLE, _HOUR)
    first.add(CYCLE)
    assert first.flush()  # A process that ends waits for no other.
    assert sent[2:] == [CYCLE]


def test_a_message_that_serves_many_requests_sets_the_pace_of_all(
    sent: list[Wakeup], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wakeups, "_PACE_SECONDS", 0.1)
    for requests, is_shared in ((1, False), (1000, True)):
        sender = wakeups._Sender()
        sender._requests[CYCLE] = requests - 1
        sender.add(CYCLE)
        assert sender.flush()
        assert (wakeups._shared_pace(CYCLE) > 0) is is_shared


def test_subjects_that_have_paused_are_forgotten() -> None:
    pace = wakeups._Pace()
    for subject in range(1000):
        pace.count((RUN_CYCLE, subject), 1, float(subject))

    assert len(pace._full_until) == 1
