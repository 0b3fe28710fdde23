"""Requests for cycles in a burst are merged, and the last one is always served by a message."""

import pytest

from clusters import wakeups
from clusters.wakeups import RECONCILE, RUN_CYCLE, Wakeup
from tests.support.docker_engine import wait_until

_HOUR = 3600.0
CYCLE: Wakeup = (RUN_CYCLE, 7)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Wakeup]:
    """The messages that a new sender sends, with an hour between those of a burst."""
    messages: list[Wakeup] = []
    monkeypatch.setattr(wakeups, "_PACE_SECONDS", _HOUR)
    monkeypatch.setattr(wakeups, "_send", lambda *wakeup: messages.append(wakeup))
    monkeypatch.setattr(wakeups, "_sender", wakeups._Sender())
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
        pace.count(CYCLE, 100.0)

    assert pace.due(CYCLE, 100.0) == pytest.approx(100 + gap)
    pace.count(CYCLE, 100 + gap)
    assert pace.due(CYCLE, 100 + gap) == pytest.approx(100 + 2 * gap)
    assert pace.due(CYCLE, 101.0) == 101.0


def test_subjects_that_have_paused_are_forgotten() -> None:
    pace = wakeups._Pace()
    for subject in range(1000):
        pace.count((RUN_CYCLE, subject), float(subject))

    assert len(pace._full_until) == 1
