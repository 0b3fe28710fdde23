"""Nothing is left behind in the end, in whatever order people, engines and workers act."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

import hypothesis
import pytest
import time_machine
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from accounts.models import User
from clusters import drivers
from clusters import services as cluster_services
from clusters.drivers.base import Cause, Phase
from clusters.models import Cluster
from deployments import moves, services
from deployments.choices import Condition, RestartPolicy, Status
from deployments.dependencies import Wait
from deployments.models import Deployment
from deployments.runtime import lost_contact
from deployments.runtime.models import Run
from deployments.specs import Spec
from hypervisor.base.errors import DomainError
from orgs.models import Organization
from scheduling.insight.explain import explain
from scheduling.insight.verify import violations
from scheduling.tasks import run_requested_cycle
from tests.support.fake_engine import ENGINES, FakeEngine
from tests.support.reconcile import reconcile

pytestmark = pytest.mark.django_db


@dataclass
class World:
    """An organization with a failing and a simulated engine, and the actions of the test."""

    acme: Organization
    bob: User
    foundry: Cluster
    forge: Cluster
    shift: Callable[[timedelta], None]
    engine: FakeEngine = field(default_factory=FakeEngine)

    def pick(self, number: int) -> Deployment | None:
        ids = list(Deployment.objects.order_by("pk").values_list("pk", flat=True))
        return Deployment.objects.get(pk=ids[number % len(ids)]) if ids else None

    def submit(self, number: int) -> None:
        other = self.pick(number)
        waits = () if other is None or number % 4 else (Wait(other.pk, Condition.RUNNING),)
        spec = Spec(
            "job", "slow/image" if number % 7 == 6 else "busybox", 1000 + number % 3 * 3000, 64,
            gpu=number % 2, priority=10 + number % 5 * 20, depends_on=waits,
            max_runtime_s=30 if number % 5 == 4 else None,
            restart_policy=RestartPolicy.ON_FAILURE if number % 2 else RestartPolicy.NEVER,
            requested_cluster=self.foundry if number % 3 == 0 else None,
        )  # fmt: skip
        services.submit(created_by=self.bob, organization=self.acme, spec=spec)

    def apply(self, verb: Callable[..., object], number: int, **options: object) -> None:
        if deployment := self.pick(number):
            verb(deployment, actor="olga", **options)

    def ends(self, number: int, code: int, cause: Cause | None = None) -> None:
        running = sorted(self.engine.running)
        if running:
            self.engine.exit(running[number % len(running)], code, cause)

    def vanishes(self, number: int) -> None:
        run_ids = sorted(self.engine.containers)
        if run_ids:
            del self.engine.containers[run_ids[number % len(run_ids)]]

    def reconcile(self) -> None:
        for cluster in (self.foundry, self.forge):
            reconcile(cluster.pk)

    def do(self, name: str, number: int) -> None:
        actions: dict[str, Callable[[], object]] = {
            "submit": lambda: self.submit(number),
            "rename": lambda: self.apply(services.adjust, number, name=f"job-{number}"),
            "reprioritize": lambda: self.apply(services.adjust, number, priority=number % 100 + 1),
            "stop": lambda: self.apply(services.stop, number),
            "cancel": lambda: self.apply(services.cancel, number),
            "start": lambda: self.apply(services.start, number),
            "hold": lambda: self.apply(services.hold, number),
            "release": lambda: self.apply(services.release, number),
            "preempt": lambda: self.apply(services.preempt, number),
            "requeue": lambda: self.apply(services.requeue, number),
            "checkpoint": lambda: self.apply(services.checkpoint, number),
            "move": lambda: self.apply(moves.move, number),
            "delete": lambda: self.apply(services.delete, number),
            "completes": lambda: self.ends(number, 0),
            "fails": lambda: self.ends(number, 3),
            "killed": lambda: self.ends(number, 137, Cause.KILLED),
            "evicted": lambda: self.ends(number, 137, Cause.ENGINE_EVICTED),
            "vanishes": lambda: self.vanishes(number),
            "loses contact": lambda: setattr(self.engine, "is_down", True),
            "answers": lambda: setattr(self.engine, "is_down", False),
            "ignores stops": lambda: setattr(self.engine, "ignores_stop", True),
            "obeys stops": lambda: setattr(self.engine, "ignores_stop", False),
            "is declared lost": lambda: lost_contact.declare_lost(self.foundry, actor="olga"),
            "drain": lambda: cluster_services.drain(self.foundry, actor="olga"),
            "uncordon": lambda: cluster_services.uncordon(self.foundry, actor="olga"),
            "cycle": lambda: run_requested_cycle(self.acme.pk),
            "reconcile": self.reconcile,
            "time passes": lambda: self.shift(timedelta(seconds=number)),
        }
        with suppress(DomainError):
            actions[name]()

    def settle(self) -> None:
        """Let the engine answer and time pass; the periodic `closing.heal` is left out."""
        self.engine.is_down = self.engine.ignores_stop = False
        self.engine.interruptions.clear()
        cluster_services.uncordon(self.foundry, actor="olga")
        for _ in range(6):
            self.shift(timedelta(seconds=700))
            for container in self.engine.by_uid.values():
                if container.seen.phase is not Phase.EXITED:
                    container.change(until=None, phase=Phase.RUNNING)
            run_requested_cycle(self.acme.pk)
            self.reconcile()


ANYTIME = st.sampled_from(
    (
        "submit", "rename", "reprioritize", "reprioritize", "stop", "stop", "cancel", "start",
        "hold", "release", "preempt", "requeue", "checkpoint", "move", "delete", "completes",
        "fails", "killed", "evicted", "vanishes", "drain", "uncordon",
    )
)  # fmt: skip
ALONE = st.sampled_from(
    (
        "loses contact", "answers", "ignores stops", "obeys stops", "is declared lost", "cycle",
        "time passes",
    )
)  # fmt: skip
NUMBERS = st.sampled_from((0, 1)) | st.integers(0, 60)
"""Mostly the same few deployments, because errors need several actions on the same one."""
POINTS = st.sampled_from(("observe", "start", "stop", "remove"))
Step = tuple[str, int, dict[str, tuple[str, int]]]
"""Actions; within a reconciliation also concurrent ones at the first call of an engine's verb."""
STEPS = st.lists(
    st.tuples(ANYTIME | ALONE, NUMBERS, st.just({}))
    | st.tuples(
        st.just("reconcile"),
        st.just(0),
        st.dictionaries(POINTS, st.tuples(ANYTIME, NUMBERS), min_size=2),
    ),
    min_size=10,
    max_size=40,
)


@contextmanager
def undone() -> Iterator[None]:
    """Roll back the database at the end; a cycle inside may still be durable."""
    block = transaction.atomic()
    block._from_testcase = True  # type: ignore[attr-defined]
    with block:
        yield
        transaction.set_rollback(True)


@settings(
    max_examples=25, deadline=None, suppress_health_check=list(HealthCheck),
    phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
)  # fmt: skip
@given(steps=STEPS)
@example(steps=[("stop", 0, {}), ("reconcile", 0, {"remove": ("reprioritize", 0)})])
@example(steps=[("stop", 0, {}), ("reconcile", 0, {"stop": ("reprioritize", 0)})])
@example(steps=[("fails", 0, {}), ("reconcile", 0, {"observe": ("reprioritize", 0)})])
@example(steps=[("vanishes", 0, {}), ("reconcile", 0, {"observe": ("stop", 0)})])
def test_nothing_is_stranded(
    acme: Organization,
    bob: User,
    foundry: Cluster,
    forge: Cluster,
    steps: list[Step],
) -> None:
    start = timezone.now()
    with time_machine.travel(start, tick=False) as clock, undone():
        world = World(acme, bob, foundry, forge, clock.shift)
        ENGINES["fake://foundry"] = world.engine
        drivers._drivers.clear()
        for number in (0, 1, 9):
            world.submit(number)
        world.do("cycle", 0)
        world.do("reconcile", 0)
        for name, number, between in steps:
            for point, (other, chosen) in between.items():
                world.engine.interruptions[point] = partial(world.do, other, chosen)
            world.do(name, number)

        world.settle()

        assert_nothing_is_stranded()


def assert_nothing_is_stranded() -> None:
    assert list(violations()) == []
    rows = Deployment.objects.all()
    assert [row.pk for row in rows if row.status in (Status.STARTING, Status.STOPPING)] == []
    assert not Run.objects.unfinished().filter(released_at__isnull=False).exists()
    for row in rows.filter(status=Status.PENDING):
        explanation = explain(row)
        assert explanation.code not in ("next_cycle", "changing"), explanation
        assert (row.status_code, row.status_reason) == (explanation.code, explanation.reason)
