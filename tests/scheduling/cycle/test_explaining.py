"""While many wait, the background writes most reasons after the commit, and none gets lost."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from clusters.models import Cluster, Node
from deployments import services
from deployments.models import Deployment
from orgs.models import Organization
from scheduling.cycle import explaining, lanes, stored_reasons, working_copy
from scheduling.cycle.explaining import write_rest
from scheduling.cycle.recording import decisions, unpack
from scheduling.cycle.run import run_cycle
from scheduling.cycle.snapshot import Loaded, load
from scheduling.models import SchedulingCycle
from scheduling.planner.pipeline import make_plan
from scheduling.planner.plan import WaitReason
from tests.fixtures.deployments import Submit

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _none_is_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat every organization as one in which many wait."""
    monkeypatch.setattr(explaining, "_FEW", 0)


@pytest.fixture
def requested(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The delays of the cycles that the background requests."""
    delays: list[float] = []
    monkeypatch.setattr(explaining, "request_cycle", lambda _, *, delay_s: delays.append(delay_s))
    return delays


def cycle(organization: Organization) -> SchedulingCycle:
    done = run_cycle(organization.pk, SchedulingCycle.Trigger.CHANGE)
    assert done is not None
    return done


def explained_cycle(organization: Organization) -> None:
    """Run a cycle, and what it requests of the background."""
    cycle(organization)
    write_rest(organization.pk)


def reason(deployment: Deployment) -> str:
    deployment.refresh_from_db()
    return deployment.status_reason


def test_every_waiting_deployment_has_its_reason(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    running, *waiting = [submit(cpu_milli=8000, name=f"job {n}") for n in range(3)]

    explained_cycle(acme)

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


def test_a_cycle_leaves_the_reasons_to_the_background(
    acme: Organization, forge: Cluster, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(stored_reasons, "_differs", lambda *_: pytest.fail("It looks at a reason."))
    monkeypatch.setattr(lanes, "request_reasons", asked.append)
    submit(cpu_milli=8000)
    submit(cpu_milli=8000)

    cycle(acme)

    assert asked == [acme.pk]


def test_the_newest_deployments_have_their_reasons_at_once_although_many_rows_are_read(
    acme: Organization, forge: Cluster, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        submit(cpu_milli=8000)
    explained_cycle(acme)
    older, new = submit(cpu_milli=8000), submit(cpu_milli=8000)
    monkeypatch.setattr(explaining, "_FEW", 1)
    working_copy.forget_all()

    cycle(acme)

    assert "short of 8 CPU" in reason(new)
    assert "short of 8 CPU" not in reason(older)


def test_a_process_that_writes_the_reasons_writes_them_again_for_another_one(
    acme: Organization, forge: Cluster, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(lanes, "request_reasons", asked.append)
    submit(cpu_milli=8000)
    waiting = submit(cpu_milli=8000)
    cycle(acme)
    write = explaining._write_rest
    reasons = []

    def while_the_first_writes(organization_id: int) -> bool:
        monkeypatch.setattr(explaining, "_write_rest", write)
        asked.clear()
        write_rest(acme.pk)
        reasons.append(reason(waiting))
        return write(organization_id)

    monkeypatch.setattr(explaining, "_write_rest", while_the_first_writes)
    write_rest(acme.pk)

    assert "short of 8 CPU" not in reasons[0]
    assert "short of 8 CPU" in reason(waiting)
    assert asked == [acme.pk]


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


def test_the_reasons_of_a_later_plan_stay(
    acme: Organization, forge: Cluster, submit: Submit, just_before_the_rest: Late
) -> None:
    submit(cpu_milli=8000)
    waiting = submit(cpu_milli=8000)

    def shrink_and_plan() -> None:
        Node.objects.filter(cluster=forge).update(cpu_milli=4000)
        explaining._write_rest(acme.pk)

    just_before_the_rest(shrink_and_plan)
    explained_cycle(acme)

    assert "exceeds the capacity" in reason(waiting)


def test_a_deployment_that_changed_since_the_plan_keeps_its_reason(
    acme: Organization, forge: Cluster, submit: Submit, just_before_the_rest: Late,
    requested: list[float],
) -> None:  # fmt: skip
    submit(cpu_milli=8000)
    waiting = submit(cpu_milli=8000)

    def hold_and_release() -> None:
        services.hold(waiting, actor="olga")
        services.release(waiting, actor="olga")

    just_before_the_rest(hold_and_release)
    explained_cycle(acme)

    assert reason(waiting) == "Released: waits for the next cycle."
    assert requested == [explaining._AGAIN_AFTER_S]


def test_while_nothing_changes_no_reasons_are_found(
    acme: Organization, forge: Cluster, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        submit(cpu_milli=8000)
    for _ in range(3):
        explained_cycle(acme)
    monkeypatch.setattr(stored_reasons, "_differs", lambda *_: pytest.fail("It looks at a reason."))

    with CaptureQueriesContext(connection) as statements:
        explained_cycle(acme)

    assert not any("SET status_reason" in each["sql"] for each in statements)


def test_only_reasons_that_can_have_changed_are_read_again(
    acme: Organization, forge: Cluster, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(cpu_milli=6000)
    low, high = submit(cpu_milli=8000, priority=10), submit(cpu_milli=8000, priority=20)
    for _ in range(3):
        explained_cycle(acme)
    read: list[int] = []
    differs = stored_reasons._differs

    def noted(wait: WaitReason, loaded: Loaded) -> tuple[str, str] | None:
        read.append(wait.deployment)
        return differs(wait, loaded)

    monkeypatch.setattr(stored_reasons, "_differs", noted)
    new = submit(cpu_milli=8000, priority=15)
    cycle(acme)
    read.clear()
    write_rest(acme.pk)
    assert read == [new.pk]

    # It takes what is free for its own priority and for lower ones.
    submit(cpu_milli=2000, priority=15)
    cycle(acme)
    read.clear()
    write_rest(acme.pk)
    assert {low.pk, new.pk} <= set(read)
    assert high.pk not in read
    assert "short of 8 CPU" in reason(low)
    assert "short of 6 CPU" in reason(high)


def test_the_holder_of_a_reservation_is_known_to_the_next_plan(
    acme: Organization, forge: Cluster, submit: Submit, endless_turns: None
) -> None:
    submit(cpu_milli=6000, priority=90)
    cycle(acme)
    holder = submit(cpu_milli=8000)
    Deployment.objects.filter(pk=holder.pk).update(queued_at="2020-01-01T00:00:00Z")

    cycle(acme)

    assert load(acme.pk, lock=False).known[holder.pk].deployment.reserved


def test_only_a_cycle_gives_a_reservation(
    acme: Organization, forge: Cluster, submit: Submit, endless_turns: None
) -> None:
    submit(cpu_milli=6000, priority=90)
    cycle(acme)
    holder = submit(cpu_milli=8000)
    Deployment.objects.filter(pk=holder.pk).update(queued_at="2020-01-01T00:00:00Z")

    write_rest(acme.pk)

    holder.refresh_from_db()
    assert holder.status_code == "submitted"
