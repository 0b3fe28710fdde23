"""The part of the demo with real containers, on this machine's Docker Engine."""

from collections.abc import Iterator

from clusters import connections
from clusters import services as cluster_services
from clusters.capacity import Capacity
from clusters.connections import Route
from clusters.drivers.base import Probe
from clusters.drivers.kinds import kind_of
from clusters.models import Cluster
from deployments import services as deployment_services
from deployments.logs import store
from deployments.models import Deployment
from deployments.specs import Spec
from hypervisor.base.errors import DomainError
from orgs import services as org_services
from orgs.models import Organization

DRIVER = "docker"
"""The kind of engine that the demo uses."""

NAME = "Workshop"
OWNER = "mira"
IMAGE = "busybox:1"

_ACTOR = "system:demo"
_MOST = Capacity(2000, 2048, 0)
"""The most that the demo uses of the machine."""

_MIB = 128


def usual_endpoint() -> str:
    """Return the usual endpoint of this machine's engine."""
    return kind_of(DRIVER).local_endpoint()


def answers(endpoint: str) -> Probe | None:
    """Return the probe of the engine, or None if no engine that could be connected answers."""
    unsaved = Cluster(name=NAME, cpu_milli=1, ram_mib=1, organization=Organization(name=NAME))
    try:
        return connections.probe(unsaved, _route(endpoint))
    except DomainError:
        return None


def found(endpoint: str, password: str) -> Cluster:
    """Create an organization with one cluster on this machine's engine.

    Raises DomainError if the engine cannot be connected; the organization exists nevertheless.
    """
    owner = org_services.register(
        username=OWNER, email=f"{OWNER}@example.org", password=password, invite_code=None
    )
    organization = org_services.create(owner=owner, name=NAME)
    cluster = cluster_services.create(
        actor=_ACTOR, organization=organization, name="this-machine", capacity=_MOST
    )
    route = _route(endpoint)
    there = connections.probe(cluster, route)
    capacity = Capacity(min(_MOST.cpu_milli, there.cpu_milli), min(_MOST.ram_mib, there.ram_mib), 0)
    cluster_services.update(cluster, actor=_ACTOR, name=cluster.name, capacity=capacity)
    connections.connect(cluster, actor=_ACTOR, route=route)
    cluster.refresh_from_db()
    return cluster


def submit(cluster: Cluster, image: str) -> Iterator[Deployment]:
    """Submit a deployment that prints and ends, and one that counts until it is preempted."""
    hello = "echo Hello from a real container, on $(hostname)."
    count = "i=0; while true; do i=$((i + 1)); echo step $i; sleep 1; done"
    yield _submit(cluster, image, "hello", hello, cpu_milli=250, priority=50)
    yield _submit(cluster, image, "counter", count, cpu_milli=cluster.cpu_milli // 2, priority=20)


def logs(deployment: Deployment) -> str:
    return store.read(store.run_of(deployment), tail=None).decode(errors="replace")


def _submit(
    cluster: Cluster, image: str, name: str, script: str, *, cpu_milli: int, priority: int
) -> Deployment:
    owner = cluster.organization.memberships.get(user__username=OWNER).user
    return deployment_services.submit(
        created_by=owner,
        organization=cluster.organization,
        spec=Spec(
            name=name,
            image=image,
            command=("sh", "-c", script),
            cpu_milli=cpu_milli,
            ram_mib=_MIB,
            priority=priority,
        ),
    )


def _route(endpoint: str) -> Route:
    return Route(driver=DRIVER, endpoint=endpoint)
