"""Run a part of a test at another time."""

from datetime import timedelta

import time_machine
from django.utils import timezone


def at(seconds: float) -> time_machine.travel:
    return time_machine.travel(timezone.now() + timedelta(seconds=seconds), tick=False)
