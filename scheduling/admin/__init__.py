"""The operators' pages of what is scheduled, and of how; one module a page."""

from scheduling.admin import cycles, dashboard, deployments, organizations

__all__ = ["cycles", "dashboard", "deployments", "organizations"]
