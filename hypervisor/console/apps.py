from django.apps import AppConfig, apps
from django.contrib import admin
from django.db.models.signals import post_migrate


class ConsoleConfig(AppConfig):
    """The operators' admin. Django's admin finds its pages in `admin`."""

    name = "hypervisor.console"
    label = "console"

    def ready(self) -> None:
        admin.site.index_title = "Dashboard"
        admin.site.index_template = "console/dashboard.html"
        from hypervisor.console.groups import install

        with_tables = [app for app in apps.get_app_configs() if app.models_module]
        # After the last app with tables, when every permission exists.
        post_migrate.connect(install, sender=with_tables[-1])
