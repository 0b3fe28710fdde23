"""The admin's tables, one module per domain; importing this package registers all of them."""

from hypervisor.console.admin import (
    clusters,
    cycles,
    deployments,
    organizations,
    people,
    platform,
    registries,
    webhooks,
)

__all__ = [
    "clusters", "cycles", "deployments", "organizations", "people", "platform", "registries",
    "webhooks",
]  # fmt: skip
