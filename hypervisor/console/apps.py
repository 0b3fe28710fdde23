from django.apps import AppConfig
from django.contrib import admin


class ConsoleConfig(AppConfig):
    """The operators' admin. Django's admin finds its pages in `admin`."""

    name = "hypervisor.console"
    label = "console"

    def ready(self) -> None:
        admin.site.index_title = "Dashboard"
        admin.site.index_template = "console/dashboard.html"
