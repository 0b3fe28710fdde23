"""The operators' pages of what is scheduled, and of how; one module a page."""

from scheduling.admin import cycles, deployments

__all__ = ["cycles", "deployments"]
