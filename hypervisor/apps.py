from django.apps import AppConfig, apps
from django.db.models.signals import post_migrate

from hypervisor import celery

__all__ = ["HypervisorConfig", "celery"]


class HypervisorConfig(AppConfig):
    """The configuration of the app `hypervisor`.

    This module imports the Celery application, so that shared tasks find it wherever Django runs.
    The package itself imports nothing, because `bootstrap` must work before anything is installed.
    """

    name = "hypervisor"
    verbose_name = "Hypervisor"

    def ready(self) -> None:
        from hypervisor.console.groups import install

        with_tables = [app for app in apps.get_app_configs() if app.models_module]
        # After the last app with tables, when every permission exists.
        post_migrate.connect(install, sender=with_tables[-1])
