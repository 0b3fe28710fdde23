from django.apps import AppConfig


class UiConfig(AppConfig):
    """Template tags, templates and styles of all pages."""

    name = "hypervisor.ui"
    label = "ui"
