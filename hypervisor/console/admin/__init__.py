"""The operators' admin, one module a domain; importing this package registers every table."""

from hypervisor.console.admin import (
    clusters,
    cycles,
    deployments,
    organizations,
    people,
    platform,
)

__all__ = ["clusters", "cycles", "deployments", "organizations", "people", "platform"]
