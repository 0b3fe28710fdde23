"""The admin's tables, one module per domain; importing this package registers all of them."""

from hypervisor.console.admin import (
    clusters,
    cycles,
    deployments,
    notices,
    organizations,
    people,
    platform,
    registries,
    sign_ins,
    webhooks,
)

__all__ = [
    "clusters", "cycles", "deployments", "notices", "organizations", "people", "platform",
    "registries", "sign_ins", "webhooks",
]  # fmt: skip
