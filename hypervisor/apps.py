from django.apps import AppConfig

from hypervisor import celery
from hypervisor.base import collector

__all__ = ["HypervisorConfig", "celery"]


class HypervisorConfig(AppConfig):
    """The configuration of the app `hypervisor`.

    This module imports the Celery application, so that shared tasks find it wherever Django runs.
    The package itself imports nothing, because `bootstrap` must work before anything is installed.
    """

    name = "hypervisor"
    verbose_name = "Hypervisor"

    def ready(self) -> None:
        collector.resume()
