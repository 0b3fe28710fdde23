"""The operators' first page: a few rows of aggregates, and what is cheap to count just now."""

from scheduling.dashboard.board import Dashboard, read
from scheduling.dashboard.over_time import SPANS

__all__ = ["SPANS", "Dashboard", "read"]
