"""The operators' admin, one module a domain; importing this package registers every page."""

from hypervisor.console.admin import clusters, deployments, organizations, people, platform
from hypervisor.console.pages import cycles, dashboard

__all__ = ["clusters", "cycles", "dashboard", "deployments", "organizations", "people", "platform"]
