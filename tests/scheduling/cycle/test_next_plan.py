"""What the pages and commands say of the next cycle is what it does, in random worlds."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from io import StringIO
from random import Random
from typing import NamedTuple

import pytest
import time_machine
from django.core.management import call_command
from django.utils import timezone

from accounts.models import User
from clusters import services as cluster_services
from clusters.services import Capacity
from deployments import services
from deployments.models import ACTIVE, ENDED, Deployment, Run, Status
from deployments.runtime.reconcile import reconcile
from deployments.specs import Spec
from hypervisor.base.errors import DomainError
from orgs.models import Organization
from scheduling.cycle.run import run_cycle
from scheduling.insight.explain import explain
from scheduling.insight.queue import Filters, Group, Queue
from scheduling.models import SchedulingCycle
from tests.support.factories import MembershipFactory, OrganizationFactory

pytestmark = pytest.mark.django_db

_WORLDS = 6
_CYCLES = 14


class Fate(NamedTuple):
    """What becomes of one deployment: where it is after the cycle, or why it waits."""

    cluster: int | None = None
    code: str = ""


class Deed(NamedTuple):
    """What a cycle does with one deployment; it goes `from_` a cluster `to` another, or to none."""

    deployment: int
    from_: int | None
    to: int | None
    for_: int | None = None


class World:
    """An organization whose deployments come, go, fail to start and preempt each other."""

    def __init__(self, bob: User, seed: int) -> None:
        self.random = Random(seed)
        self.bob = bob
        self.organization: Organization = OrganizationFactory()
        MembershipFactory(organization=self.organization, user=bob)
        self.clusters = [
            cluster_services.create(
                actor="alice", organization=self.organization, name=name,
                capacity=Capacity(8000, 16384, 2),
            )
            for name in ("anvil", "bellows")
        ]  # fmt: skip
        for _ in range(6):
            self._submit()

    def go_on(self) -> None:
        """Let people do this and that, and some containers follow."""
        for act in self.random.choices(
            (self._submit, self._push_back, self._release, self._start_again, self._end,
             self._follow),
            weights=(2, 4, 4, 4, 1, 3), k=3,
        ):  # fmt: skip
            with suppress(DomainError):
                act()

    def _submit(self) -> None:
        pinned = self.random.random() < 0.3
        spec = Spec(
            name="job",
            image=self.random.choice(["busybox", "simulated/missing"]),
            cpu_milli=self.random.choice([4000, 8000, 8000]),
            ram_mib=1024,
            priority=self.random.choice([10, 30, 50, 70]),
            requested_cluster=self.random.choice(self.clusters) if pinned else None,
        )
        services.submit(created_by=self.bob, organization=self.organization, spec=spec)

    def _push_back(self) -> None:
        """Take a preemptor from the room that was made for it, so that its victims return."""
        for one in self._some(status__in=ACTIVE, preempted_runs__isnull=False):
            services.requeue(one, actor="olga")
            one.refresh_from_db()
            services.hold(one, actor="olga")

    def _release(self) -> None:
        for one in self.organization.deployments.filter(held=True, status=Status.PENDING):
            services.release(one, actor="olga")

    def _start_again(self) -> None:
        for one in self._some(status__in=ENDED):
            services.start(one, actor="bob")

    def _end(self) -> None:
        for one in self._some(status__in=ACTIVE):
            services.stop(one, actor="bob")

    def _follow(self) -> None:
        for cluster in self.clusters:
            reconcile(cluster.pk)

    def _some(self, **lookup: object) -> list[Deployment]:
        """Return one of them, if there is any."""
        rows = list(self.organization.deployments.filter(**lookup).distinct().order_by("pk"))
        return [self.random.choice(rows)] if rows else []


def said_by_explain(world: World) -> dict[int, Fate]:
    ids = {cluster.name: cluster.pk for cluster in world.clusters}
    fates = {}
    for deployment in world.organization.deployments.pending():
        said = explain(deployment)
        if said.code == "next_cycle":
            name = said.reason.removeprefix("The next cycle places it on ").removesuffix(".")
            fates[deployment.pk] = Fate(ids[name])
        else:
            fates[deployment.pk] = Fate(code=said.code)
    return fates


def said_by_the_queue(world: World) -> dict[int, str]:
    queue = Queue(Filters(organization=world.organization.pk), timezone.now())
    return {e.deployment.pk: e.code for e in queue.entries(Group.COMPETING, 0, 1000)}


def said_by_the_dry_run(world: World) -> set[Deed]:
    out = StringIO()
    call_command(
        "schedule", "--dry-run", "--json", organization=str(world.organization.pk), stdout=out
    )
    (plan,) = json.loads(out.getvalue())
    said = {Deed(e["deployment"], e["cluster"], None, e["for"]) for e in plan["evictions"]}
    said |= {Deed(m["deployment"], m["from"], m["to"], m["for"]) for m in plan["moves"]}
    said |= {Deed(p["deployment"], None, p["cluster"]) for p in plan["placements"]}
    return said


class Seen(NamedTuple):
    status: str
    cluster: int | None
    code: str


def look(world: World) -> dict[int, Seen]:
    rows = world.organization.deployments.values_list("pk", "status", "cluster", "status_code")
    return {pk: Seen(status, cluster, code) for pk, status, cluster, code in rows}


def done(before: dict[int, Seen], after: dict[int, Seen], cycle: SchedulingCycle) -> set[Deed]:
    lost = Run.objects.filter(deployment__in=before, released_at=cycle.started_at)
    preemptors = dict(lost.values_list("deployment", "preempted_by"))
    return {
        Deed(pk, was.cluster, after[pk].cluster, preemptors.get(pk))
        for pk, was in before.items()
        if was.cluster != after[pk].cluster
    }


def test_what_is_said_of_the_next_cycle_is_what_it_does(bob: User) -> None:
    suspended = evicted = 0
    for seed in range(_WORLDS):
        with time_machine.travel(datetime(2030, 1, 1, tzinfo=UTC), tick=False) as clock:
            world = World(bob, seed)
            for _ in range(_CYCLES):
                clock.shift(world.random.choice([5, 90, 700]))
                world.go_on()
                record = foretold_and_done(world)
                suspended += record.suspended
                evicted += record.evicted
    assert suspended >= 3
    assert evicted >= _WORLDS


def foretold_and_done(world: World) -> SchedulingCycle:
    """Run a cycle, and compare what it does with what was said before."""
    before = look(world)
    explained, queued = said_by_explain(world), said_by_the_queue(world)
    planned = said_by_the_dry_run(world)

    record = run_cycle(world.organization.pk, SchedulingCycle.Trigger.CHANGE)

    assert record is not None
    after = look(world)
    waiting = [pk for pk, seen in before.items() if seen.status == Status.PENDING]
    fates = {
        pk: Fate(after[pk].cluster) if after[pk].cluster else Fate(code=after[pk].code)
        for pk in waiting
    }
    assert explained == fates
    assert queued == {pk: fates[pk].code or "next_cycle" for pk in queued}
    assert planned == done(before, after, record)
    return record
