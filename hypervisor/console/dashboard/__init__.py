"""The operators' first page: a few rows of aggregates, and what is cheap to count just now."""

from hypervisor.console.dashboard.board import Dashboard, read
from hypervisor.console.dashboard.over_time import SPANS

__all__ = ["SPANS", "Dashboard", "read"]
