import gc

from django.apps import AppConfig

from hypervisor import celery

__all__ = ["HypervisorConfig", "celery"]

_COLLECT_AFTER = (50_000, 20, 20)
"""The thresholds of Python's collector of reference cycles.

The planner allocates hundreds of thousands of objects, and nearly no reference cycles. With
Python's own threshold of 700, the collector looks through them again and again, for a quarter of
the time of a scheduling cycle, of a page of the console and of the tests.
"""


class HypervisorConfig(AppConfig):
    """The configuration of the app `hypervisor`.

    This module imports the Celery application, so that shared tasks find it wherever Django runs.
    The package itself imports nothing, because `bootstrap` must work before anything is installed.
    """

    name = "hypervisor"
    verbose_name = "Hypervisor"

    def ready(self) -> None:
        gc.set_threshold(*_COLLECT_AFTER)
