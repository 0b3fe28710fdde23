"""An organization in which users, operators and engines act at random."""

from contextlib import suppress
from dataclasses import replace
from random import Random

from accounts.models import User
from clusters import services as cluster_services
from clusters.capacity import Capacity
from clusters.nodes import NodeSpec
from deployments import services
from deployments.choices import ACTIVE, ENDED, Status
from deployments.dependencies import Wait
from deployments.models import Deployment
from deployments.specs import Spec
from hypervisor.base.errors import DomainError
from orgs.models import Organization
from tests.support.factories import MembershipFactory, OrganizationFactory
from tests.support.preemption import preempt_in_vain
from tests.support.reconcile import reconcile


class World:
    """An organization whose deployments start, end, fail to start and preempt each other."""

    def __init__(self, bob: User, seed: int) -> None:
        self.random = Random(seed)
        self.bob = bob
        self.organization: Organization = OrganizationFactory()
        MembershipFactory(organization=self.organization, user=bob)
        self.clusters = [
            cluster_services.create(
                actor="alice", organization=self.organization, name=name,
                specs=NodeSpec("n", Capacity(8000, 16384, 2)).repeated(count),
            )
            for name, count in (("anvil", 1), ("bellows", 2))
        ]  # fmt: skip
        for _ in range(8):
            self._submit()

    def act(self) -> None:
        """Act as users and operators at random, and reconcile some containers."""
        actions = self.random.choices(
            (self._submit, self._hold_or_release, self._reprioritize, self._start_again,
             self._end, self._follow),
            weights=(2, 1, 1, 4, 1, 3), k=3,
        )  # fmt: skip
        for action in (self._push_back, *actions):
            with suppress(DomainError):
                action()

    def act_in_all_ways(self) -> None:
        """Act, and also report checkpoints, submit dependents and delete."""
        self.act()
        action = self.random.choice((self._report, self._submit_dependent, self._delete))
        with suppress(DomainError):
            action()

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
        for one in self._some(status=Status.STARTING, preempted_runs__isnull=False):
            preempt_in_vain(one)

    def _hold_or_release(self) -> None:
        for one in self._some(status=Status.PENDING):
            (services.release if one.held else services.hold)(one, actor="olga")

    def _reprioritize(self) -> None:
        for one in self._some(status=Status.PENDING):
            services.adjust(one, actor="olga", priority=self.random.choice([10, 30, 50, 70]))

    def _start_again(self) -> None:
        for one in self._some(status__in=ENDED):
            services.start(one, actor="bob")

    def _end(self) -> None:
        for one in self._some(status__in=ACTIVE):
            services.stop(one, actor="bob")

    def _submit_dependent(self) -> None:
        for on in self._some():
            spec = replace(Spec.of(on), depends_on=(Wait(on.pk),))
            services.submit(created_by=self.bob, organization=self.organization, spec=spec)

    def _report(self) -> None:
        for one in self._some(status=Status.RUNNING):
            services.checkpoint(one, actor="bob")

    def _delete(self) -> None:
        for one in self._some(status__in=ENDED):
            services.delete(one, actor="bob")

    def _follow(self) -> None:
        for cluster in self.clusters:
            reconcile(cluster.pk)

    def _some(self, **lookup: object) -> list[Deployment]:
        """Return a random one of the deployments that match, if there is one."""
        rows = list(self.organization.deployments.filter(**lookup).distinct().order_by("pk"))
        return [self.random.choice(rows)] if rows else []
