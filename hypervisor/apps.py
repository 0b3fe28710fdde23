from django.apps import AppConfig


class HypervisorConfig(AppConfig):
    name = "hypervisor"
    verbose_name = "Hypervisor"
