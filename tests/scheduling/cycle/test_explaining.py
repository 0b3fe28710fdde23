"""While many wait, most reasons are written after the plan is committed, and none gets lost."""

from collections.abc import Callable
from time import monotonic
from typing import Any
from weakref import WeakValueDictionary

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from clusters.models import Cluster, Node
from clusters.wakeups import RUN_CYCLE, begin, flush
from deployments import services
from deployments.models import Deployment
from orgs.models import Organization
from scheduling.cycle import explaining, lanes
from scheduling.cycle.recording import decisions, unpack
from scheduling.cycle.run import run_cycle
from scheduling.cycle.snapshot import load
from scheduling.models import SchedulingCycle
from scheduling.planner.pipeline import make_plan
from tests.fixtures.deployments import Submit

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _none_is_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat every organization as one in which many wait."""
    monkeypatch.setattr(explaining, "_FEW", 0)
    monkeypatch.setattr(explaining, "_stored", WeakValueDictionary())


def cycle(organization: Organization, *, is_requested_again: bool = False) -> SchedulingCycle:
    """Run a cycle that begins after all requests for it, except for one if that is wanted."""
    flush()
    begin(RUN_CYCLE, organization.pk)
    lanes.begin(organization.pk)
    if is_requested_again:
        lanes.request_long(organization.pk, "change")
    done = run_cycle(organization.pk, SchedulingCycle.Trigger.CHANGE)
    assert done is not None
    return done


def reason(deployment: Deployment) -> str:
    deployment.refresh_from_db()
    return deployment.status_reason


def test_every_waiting_deployment_has_its_reason(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    running, *waiting = [submit(cpu_milli=8000, name=f"job {n}") for n in range(3)]

    cycle(acme)

    short = (
        "Needs 8 CPU, 1 GiB RAM at priority 50. The only cluster that could run it, forge, is short"
        " of 8 CPU."
    )
    assert [reason(each) for each in waiting] == [short, short]
    assert reason(running).startswith("Needs 8 CPU, 1 GiB RAM; placed on forge")


def test_the_record_has_all_decisions(acme: Organization, forge: Cluster, submit: Submit) -> None:
    for _ in range(3):
        submit(cpu_milli=8000)
    loaded = load(acme.pk, lock=False)
    expected = decisions(loaded.snapshot, make_plan(loaded.snapshot))

    done = cycle(acme)

    done.refresh_from_db()
    assert unpack(bytes(done.record or b""))[1] == expected


def test_a_placement_is_committed_before_the_reasons_are_found(
    acme: Organization, forge: Cluster, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = submit(cpu_milli=8000), submit(cpu_milli=8000)
    in_transaction = []
    write_rest = explaining._differs

    def differs(*arguments: object) -> tuple[str, str] | None:
        in_transaction.append(connection.in_atomic_block)
        return write_rest(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(explaining, "_differs", differs)
    cycle(acme)

    assert in_transaction[0] is False
    assert "short" in reason(second) + reason(first)


@pytest.mark.parametrize(("after_s", "written"), [(0.0, False), (explaining._LATEST_S, True)])
def test_reasons_are_left_to_a_requested_cycle_for_a_while(
    acme: Organization, forge: Cluster, submit: Submit, monkeypatch: pytest.MonkeyPatch,
    after_s: float, written: bool,
) -> None:  # fmt: skip
    submit(cpu_milli=8000)
    waiting = submit(cpu_milli=8000)
    cycle(acme)
    Node.objects.filter(cluster=forge).update(cpu_milli=4000)
    monkeypatch.setattr(explaining, "_left_since", {acme.pk: monotonic() - after_s})

    cycle(acme, is_requested_again=True)

    assert ("exceeds the capacity" in reason(waiting)) is written
    cycle(acme)
    assert "exceeds the capacity" in reason(waiting)


Late = Callable[[Callable[[], object]], None]


@pytest.fixture
def just_before_the_rest(monkeypatch: pytest.MonkeyPatch) -> Late:
    """Do something once, after the plan is committed and before the reasons are written."""
    write = explaining._write

    def arrange(act: Callable[[], object]) -> None:
        def act_then_write(*arguments: Any) -> int:
            if not connection.in_atomic_block:
                monkeypatch.setattr(explaining, "_write", write)
                act()
            return write(*arguments)

        monkeypatch.setattr(explaining, "_write", act_then_write)

    return arrange


def test_the_reasons_of_a_later_cycle_stay(
    acme: Organization, forge: Cluster, submit: Submit, just_before_the_rest: Late
) -> None:
    submit(cpu_milli=8000)
    waiting = submit(cpu_milli=8000)

    def shrink_and_plan() -> None:
        Node.objects.filter(cluster=forge).update(cpu_milli=4000)
        cycle(acme)

    just_before_the_rest(shrink_and_plan)
    cycle(acme)

    assert "exceeds the capacity" in reason(waiting)


def test_a_deployment_that_changed_since_the_plan_keeps_its_reason(
    acme: Organization, forge: Cluster, submit: Submit, just_before_the_rest: Late,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    requested: list[float] = []
    monkeypatch.setattr(
        explaining, "request_cycle", lambda _, *, delay_s: requested.append(delay_s)
    )
    submit(cpu_milli=8000)
    waiting = submit(cpu_milli=8000)

    def hold_and_release() -> None:
        services.hold(waiting, actor="olga")
        services.release(waiting, actor="olga")

    just_before_the_rest(hold_and_release)
    cycle(acme)

    assert reason(waiting) == "Released: waits for the next cycle."
    assert requested == [explaining._AGAIN_AFTER_S]


def test_a_cycle_without_a_change_finds_no_reasons(
    acme: Organization, forge: Cluster, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        submit(cpu_milli=8000)
    for _ in range(3):
        cycle(acme)
    monkeypatch.setattr(explaining, "_differs", lambda *_: pytest.fail("It looks at a reason."))

    with CaptureQueriesContext(connection) as statements:
        cycle(acme)

    assert not any("SET status_reason" in each["sql"] for each in statements)


def test_the_holder_of_a_reservation_is_known_to_the_next_plan(
    acme: Organization, forge: Cluster, submit: Submit, endless_turns: None
) -> None:
    submit(cpu_milli=6000, priority=90)
    cycle(acme)
    holder = submit(cpu_milli=8000)
    Deployment.objects.filter(pk=holder.pk).update(queued_at="2020-01-01T00:00:00Z")

    cycle(acme)

    assert load(acme.pk, lock=False).known[holder.pk].deployment.reserved
