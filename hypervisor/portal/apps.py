from django.apps import AppConfig


class PortalConfig(AppConfig):
    """The members' pages."""

    name = "hypervisor.portal"
    label = "portal"
