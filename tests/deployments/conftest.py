from collections.abc import Callable
from typing import Any

import pytest

from accounts.models import User
from clusters import services as cluster_services
from clusters.models import Cluster
from clusters.services import Capacity
from deployments import services
from deployments.models import Deployment
from deployments.services import Spec
from orgs.models import Organization

Submit = Callable[..., Deployment]


@pytest.fixture
def forge(acme: Organization) -> Cluster:
    """A cluster of 8 cores, 16 GiB and 2 GPUs."""
    return cluster_services.create(
        actor="alice", organization=acme, name="forge", capacity=Capacity(8000, 16384, 2)
    )


@pytest.fixture
def submit(acme: Organization, bob: User) -> Submit:
    """Submit a deployment of bob's: one core and 1 GiB unless said otherwise."""

    def submit_one(**fields: Any) -> Deployment:
        spec = Spec(
            **{"name": "job", "image": "busybox", "cpu_milli": 1000, "ram_mib": 1024, **fields}
        )
        return services.submit(created_by=bob, organization=acme, spec=spec)

    return submit_one
