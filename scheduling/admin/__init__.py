"""The operators' pages of what is scheduled, and of how; one module a page."""

from scheduling.admin import cycles

__all__ = ["cycles"]
