"""Celery beat with its schedule in the database, and a note there that it is alive."""

import time
from typing import Any

import structlog
from django.db import Error
from django_celery_beat.schedulers import DatabaseScheduler

from scheduling import pulse

log = structlog.get_logger(__name__)


class NotingScheduler(DatabaseScheduler):  # type: ignore[misc]
    """Its notes do not pass the broker, so they tell a dead beat from a dead broker."""

    _noted = 0.0

    def tick(self, *args: Any, **kwargs: Any) -> Any:
        if time.monotonic() - self._noted >= pulse.EVERY_S - 1:
            self._noted = time.monotonic()
            try:
                pulse.note(pulse.BEAT)
            except Error as error:
                log.warning("pulse_not_noted", error=str(error))
        return super().tick(*args, **kwargs)
