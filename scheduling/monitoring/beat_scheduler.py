"""Celery beat with its schedule in the database, and a note there that it is alive."""

import time
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.db import Error
from django.utils import timezone
from django_celery_beat.models import PeriodicTask, PeriodicTasks
from django_celery_beat.schedulers import DatabaseScheduler

from scheduling.monitoring import heartbeats

_SLACK = timedelta(seconds=1)

log = structlog.get_logger(__name__)


class NotingScheduler(DatabaseScheduler):  # type: ignore[misc]
    """Its notes do not pass the broker, so they tell a dead beat from a dead broker.

    A job that ran last in the future, by a clock that has been set back since, would not run again
    before that time: such times are cut to now.
    """

    _noted = 0.0

    def tick(self, *args: Any, **kwargs: Any) -> Any:
        try:
            if time.monotonic() - self._noted >= heartbeats.EVERY_S - 1:
                self._noted = time.monotonic()
                heartbeats.note(heartbeats.BEAT)
            self._cut_what_lies_ahead(timezone.now())
        except Error as error:
            log.warning("pulse_not_noted", error=str(error))
        return super().tick(*args, **kwargs)

    def _cut_what_lies_ahead(self, now: datetime) -> None:
        limit = now + _SLACK
        # The rows, not the entries: those on the heap are others than those of the schedule.
        rows = [entry.model for entry in self.schedule.values()]
        ahead = [row for row in rows if row.last_run_at > limit]
        if not ahead:
            return
        log.warning("clock_was_ahead", jobs=sorted(row.name for row in ahead))
        for row in ahead:
            row.last_run_at = now
        PeriodicTask.objects.filter(last_run_at__gt=limit).update(last_run_at=now)
        # A job that never ran counts from when its row was written.
        PeriodicTask.objects.filter(date_changed__gt=limit).update(date_changed=now)
        PeriodicTasks.objects.filter(last_update__gt=limit).update(last_update=now)
        # All that it keeps in memory has been reckoned with the clock as it was.
        self._initial_read, self._heap = True, None
