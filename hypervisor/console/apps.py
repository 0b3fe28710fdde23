from django.apps import AppConfig


class ConsoleConfig(AppConfig):
    """The operators' admin. Django's admin finds its pages in `admin`."""

    name = "hypervisor.console"
    label = "console"
