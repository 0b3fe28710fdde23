from django.apps import AppConfig

from hypervisor import celery

__all__ = ["HypervisorConfig", "celery"]


class HypervisorConfig(AppConfig):
    """Its module imports the Celery application, so that shared tasks find it wherever Django runs.

    (The package itself imports nothing: `bootstrap` must work before anything is installed.)
    """

    name = "hypervisor"
    verbose_name = "Hypervisor"
