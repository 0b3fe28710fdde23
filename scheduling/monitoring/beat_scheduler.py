"""Celery beat with its schedule and its heartbeat in the database."""

import time
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.db import Error, connection
from django.utils import timezone
from django_celery_beat.models import PeriodicTask, PeriodicTasks
from django_celery_beat.schedulers import DatabaseScheduler

from scheduling.monitoring import heartbeats
from scheduling.monitoring.lease import Lease

LEASE_S = 15
"""How long another beat waits for one that was killed or stopped, at most."""

STANDBY_S = 2
"""How often a waiting beat looks whether the lease is free."""

_SLACK = timedelta(seconds=1)

log = structlog.get_logger(__name__)


class HeartbeatScheduler(DatabaseScheduler):  # type: ignore[misc]
    """Sends messages while it holds the lease of all beats, of which any number may run.

    It records its heartbeat directly, so that a dead beat differs from a dead broker.

    If the clock has been set back, a job's last run may be in the future, and the job would not run
    again before that time. Such times are set to now.
    """

    _recorded = 0.0
    _was_holder = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._lease = Lease("beat", LEASE_S)
        super().__init__(*args, **kwargs)

    def tick(self, *args: Any, **kwargs: Any) -> Any:
        if not self._holds_lease():
            return STANDBY_S
        try:
            if time.monotonic() - self._recorded >= heartbeats.EVERY_S - 1:
                self._recorded = time.monotonic()
                heartbeats.record(heartbeats.BEAT)
            self._cut_future_times(timezone.now())
        except Error as error:
            log.warning("heartbeat_not_recorded", error=str(error))
        return super().tick(*args, **kwargs)

    def apply_entry(self, *args: Any, **kwargs: Any) -> None:
        """Send a job's message, unless this process was stopped until its lease was over."""
        if self._lease.is_valid:
            super().apply_entry(*args, **kwargs)

    def close(self) -> None:
        """Write the last runs, and let another beat take over at once."""
        super().close()
        if self._was_holder:
            self._lease.release()

    def _holds_lease(self) -> bool:
        try:
            holds = self._lease.hold()
        except Error as error:
            log.warning("lease_not_renewed", error=str(error))
            connection.close()
            holds = self._lease.is_valid
        if holds != self._was_holder:
            log.info("beat_begins" if holds else "beat_waits_for_another")
            self._was_holder = holds
            # What another beat sends in the meantime is in the database.
            self._dirty.clear()
            self._initial_read, self._heap = True, None
        return holds

    def _cut_future_times(self, now: datetime) -> None:
        limit = now + _SLACK
        # The rows, not the entries: the heap and the schedule hold different entries.
        rows = [entry.model for entry in self.schedule.values()]
        ahead = [row for row in rows if row.last_run_at > limit]
        if not ahead:
            return
        log.warning("clock_was_ahead", jobs=sorted(row.name for row in ahead))
        for row in ahead:
            row.last_run_at = now
        PeriodicTask.objects.filter(last_run_at__gt=limit).update(last_run_at=now)
        # For a job that has never run, beat counts from the row's last change.
        PeriodicTask.objects.filter(date_changed__gt=limit).update(date_changed=now)
        PeriodicTasks.objects.filter(last_update__gt=limit).update(last_update=now)
        # The schedule in memory was computed by the wrong clock.
        self._initial_read, self._heap = True, None
