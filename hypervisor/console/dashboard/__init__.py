"""The operators' first page, from a few rows of samples and some cheap counts."""

from hypervisor.console.dashboard.board import Dashboard, read
from hypervisor.console.dashboard.over_time import SPANS

__all__ = ["SPANS", "Dashboard", "read"]
