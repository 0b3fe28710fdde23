"""The latency of followers is that of events after they have come."""

import time
from datetime import UTC, datetime

from benchmarks.following import Seen


def test_what_a_follower_catches_up_with_does_not_count_as_late() -> None:
    seen = Seen()
    seen.add(1, "2030-01-01T00:00:00+00:00")
    assert seen.latencies_s == []
    seen.since = time.time()
    seen.add(2, datetime.now(UTC).isoformat())
    seen.add(4, datetime.now(UTC).isoformat())
    assert len(seen.latencies_s) == 2
    assert seen.problems == ["4 came after 2"]
