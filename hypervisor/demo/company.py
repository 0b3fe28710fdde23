"""Example organizations for a first look: people, clusters and deployments."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from accounts.models import User
from accounts.services import create_user
from clusters import services as cluster_services
from clusters.capacity import Capacity
from clusters.models import Cluster
from clusters.nodes import NodeSpec
from deployments import services as deployment_services
from deployments.models import Deployment
from deployments.specs import Spec
from orgs import services as org_services
from orgs.models import Organization

_GIB = 1024


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of deployment: request (cores, GiB, GPUs), priority, and its run time if it ends.

    `seconds` is the range of the run time. As people do, they state a generous limit.
    """

    name: str
    image: str
    cpu: int
    ram_gib: int
    gpu: int
    priority: int
    seconds: tuple[int, int] | None = None

    @property
    def limit_s(self) -> int | None:
        """Return its `max_runtime_s`, with which waiting deployments have a forecast."""
        return 2 * self.seconds[1] if self.seconds else None


@dataclass(frozen=True, slots=True)
class Rack:
    """A cluster: the cores, GiB and GPUs of each node, and the labels by the node's name."""

    name: str
    cpu: int
    ram_gib: int
    gpu: int
    nodes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def specs(self) -> list[NodeSpec]:
        """Return its nodes; without any, one that is named like the cluster."""
        capacity = Capacity(self.cpu * 1000, self.ram_gib * _GIB, self.gpu)
        several = [NodeSpec(name, capacity, labels) for name, labels in self.nodes.items()]
        return several or [NodeSpec.only(self.name, capacity)]


@dataclass(frozen=True, slots=True)
class Team:
    """An organization: its people (the first is the owner) and clusters."""

    name: str
    people: tuple[str, ...]
    clusters: tuple[Rack, ...]
    batch: tuple[Kind, ...]
    urgent: tuple[Kind, ...]


TEAMS = (
    Team(
        "Perception",
        ("amara", "jonas", "wei"),
        (
            Rack(
                "east-a100",
                64,
                512,
                8,
                {
                    "a100-1": {"gpu.model": "a100-80gb", "zone": "a"},
                    "a100-2": {"gpu.model": "a100-80gb", "zone": "b"},
                },
            ),
            Rack("edge-l4", 64, 256, 8),
        ),
        (
            Kind("label-sweep", "perception/autolabel:3.1", 4, 16, 0, 20, (60, 240)),
            Kind("detector-train", "perception/detector:2.8", 12, 96, 2, 50, (120, 600)),
            Kind("hyperparameter-trial", "perception/trial:2.8", 8, 64, 1, 30, (45, 180)),
        ),
        (
            Kind("fleet-inference", "perception/serve:5.0", 16, 64, 4, 90),
            Kind("release-evaluation", "perception/evaluate:1.4", 24, 128, 4, 80, (60, 120)),
        ),
    ),
    Team(
        "Language",
        ("priya", "tomas", "ngozi"),
        (Rack("west-h100", 192, 2048, 16),),
        (
            Kind("tokenize-shard", "language/tokenize:0.9", 8, 32, 0, 20, (30, 120)),
            Kind("finetune", "language/finetune:1.2", 16, 256, 4, 50, (180, 600)),
            Kind("distil", "language/distil:1.2", 8, 128, 2, 40, (90, 300)),
        ),
        (Kind("chat-serving", "language/serve:4.2", 16, 128, 4, 90),),
    ),
    Team(
        "Forecasting",
        ("lena", "omar"),
        (Rack("north-cpu", 96, 384, 0), Rack("north-t4", 32, 128, 4)),
        (
            Kind("backtest", "forecasting/backtest:7", 8, 24, 0, 30, (40, 160)),
            Kind("gradient-boosting", "forecasting/boost:7", 16, 64, 0, 50, (60, 240)),
            Kind("nowcast-train", "forecasting/nowcast:2", 8, 32, 1, 40, (90, 300)),
        ),
        (Kind("month-end-close", "forecasting/close:7", 32, 128, 0, 95, (60, 120)),),
    ),
)

_BATCH_PER_KIND = 12
_URGENT_PER_KIND = 3


def found(team: Team, password: str) -> Organization:
    """Create the team's users, organization and clusters."""
    owner, *others = (
        create_user(username=name, email=f"{name}@example.org", password=password)
        for name in team.people
    )
    organization = org_services.create(owner=owner, name=team.name)
    for user in others:
        org_services.join(user, invite_code=organization.invite_code)
    for rack in team.clusters:
        cluster_services.create(
            actor=owner.username, organization=organization, name=rack.name, specs=rack.specs()
        )
    return organization


def submit_batch(team: Team, organization: Organization, dice: random.Random) -> list[Deployment]:
    """Submit more deployments than fit on the team's clusters."""
    wanted = [kind for kind in team.batch for _ in range(_BATCH_PER_KIND)]
    dice.shuffle(wanted)
    return list(_submit(wanted, organization, dice))


def submit_urgent(team: Team, organization: Organization, dice: random.Random) -> list[Deployment]:
    """Submit deployments that have to preempt batch work; one of them requests a cluster."""
    wanted = [kind for kind in team.urgent for _ in range(_URGENT_PER_KIND)]
    largest = Cluster.objects.filter(organization=organization).order_by("-gpu", "pk")[0]
    first, *rest = wanted
    return [
        *_submit([first], organization, dice, requested_cluster=largest),
        *_submit(rest, organization, dice),
    ]


def _submit(
    wanted: list[Kind],
    organization: Organization,
    dice: random.Random,
    requested_cluster: Cluster | None = None,
) -> Iterator[Deployment]:
    people = list(User.objects.filter(memberships__organization=organization).order_by("pk"))
    for number, kind in enumerate(wanted, start=1):
        env = {"SIMULATE_RUN_SECONDS": str(dice.randint(*kind.seconds))} if kind.seconds else {}
        yield deployment_services.submit(
            created_by=dice.choice(people),
            organization=organization,
            spec=Spec(
                name=f"{kind.name}-{number:02}",
                image=kind.image,
                cpu_milli=kind.cpu * 1000,
                ram_mib=kind.ram_gib * _GIB,
                gpu=kind.gpu,
                priority=kind.priority,
                max_runtime_s=kind.limit_s,
                env=env,
                requested_cluster=requested_cluster,
            ),
        )
