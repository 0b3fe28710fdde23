"""The operators' pages of what is scheduled, and of how; one module a page."""

from hypervisor.console.pages import cycles, dashboard, deployments, organizations

__all__ = ["cycles", "dashboard", "deployments", "organizations"]
