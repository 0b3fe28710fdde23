import json
import zlib

import pytest
from django.core.management import CommandError, call_command

from clusters.models import Cluster
from deployments import services
from deployments.models import Status
from orgs.models import Organization
from scheduling.cycle.recording import STAYS, Decision, decisions, read, unpack
from scheduling.cycle.run import run_cycle
from scheduling.models import SchedulingCycle
from scheduling.planner.plan import Eviction, Hold, Move, Placement, Plan
from tests.fixtures.deployments import Submit

pytestmark = pytest.mark.django_db


@pytest.fixture
def preempting(acme: Organization, forge: Cluster, submit: Submit) -> SchedulingCycle:
    """A cycle in which one deployment took the room of another."""
    submit(cpu_milli=8000, priority=10)
    run_cycle(acme.pk, SchedulingCycle.Trigger.CHANGE)
    submit(cpu_milli=8000, priority=20)
    cycle = run_cycle(acme.pk, SchedulingCycle.Trigger.CHANGE)
    assert cycle is not None
    assert cycle.evicted == 1
    return cycle


def test_a_cycle_that_decided_nothing_keeps_no_record(acme: Organization, forge: Cluster) -> None:
    cycle = run_cycle(acme.pk, SchedulingCycle.Trigger.INTERVAL)

    assert cycle is not None
    assert cycle.record is None


def test_a_record_holds_what_the_cycle_saw(preempting: SchedulingCycle) -> None:
    snapshot, words = unpack(bytes(preempting.record or b""))

    assert [d.priority for d in snapshot.deployments] == [10, 20]
    assert sorted(text.split()[0] for text in words.values()) == ["evicted", "placed"]


def test_a_replay_gives_the_same_plan(
    preempting: SchedulingCycle, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("replay", preempting.pk)

    assert capsys.readouterr().out == "The same plan.\n"


def test_a_replay_with_other_settings_says_what_they_would_have_done(
    preempting: SchedulingCycle, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("replay", preempting.pk, "--set", "min_run_seconds=3600")

    told = capsys.readouterr().out
    assert "2 differences" in told
    assert "→ stays" in told
    assert preempting.organization.deployments.filter(status=Status.PENDING).count() == 1


@pytest.mark.parametrize(
    "setting", ["no_such=1", "order=backwards", "min_run_seconds", "backoff_seconds=5"]
)
def test_a_wrong_setting_is_named(preempting: SchedulingCycle, setting: str) -> None:
    with pytest.raises(CommandError, match=setting.split("=", maxsplit=1)[0]):
        call_command("replay", preempting.pk, "--set", setting)


def test_a_plan_that_is_not_the_one_carried_out_is_an_error(preempting: SchedulingCycle) -> None:
    SchedulingCycle.objects.filter(pk=preempting.pk).update(record=_tampered(preempting))

    with pytest.raises(CommandError, match="not the one"):
        call_command("replay", preempting.pk)


@pytest.fixture
def suspending(acme: Organization, forge: Cluster, submit: Submit) -> SchedulingCycle:
    """A cycle that suspended preemption for a deployment instead of preempting for it again."""
    submit(cpu_milli=8000, priority=10)
    run_cycle(acme.pk, SchedulingCycle.Trigger.CHANGE)
    preemptor = submit(cpu_milli=8000, priority=50)
    run_cycle(acme.pk, SchedulingCycle.Trigger.CHANGE)
    services.requeue(preemptor, actor="olga")
    services.hold(preemptor, actor="olga")
    run_cycle(acme.pk, SchedulingCycle.Trigger.CHANGE)
    services.release(preemptor, actor="olga")
    cycle = run_cycle(acme.pk, SchedulingCycle.Trigger.CHANGE)
    assert cycle is not None
    assert cycle.set_aside == 1
    return cycle


def test_a_replay_suspends_preemption_as_the_cycle_did(
    suspending: SchedulingCycle, capsys: pytest.CaptureFixture[str]
) -> None:
    snapshot, words = unpack(bytes(suspending.record or b""))

    call_command("replay", suspending.pk)

    assert capsys.readouterr().out == "The same plan.\n"
    (preemptor,) = (d for d in snapshot.deployments if d.past_victims)
    assert read(preemptor.id, words[str(preemptor.id)]) == Decision(
        preemptor.id, "waits", code="thrash", suspended=True
    )


def test_a_record_of_a_release_that_kept_no_past_gives_the_same_plan(
    suspending: SchedulingCycle, capsys: pytest.CaptureFixture[str]
) -> None:
    """Such a record has the end of the suspension in the snapshot itself."""
    document = json.loads(zlib.decompress(bytes(suspending.record or b"")))
    for row in document["snapshot"]["deployments"]:
        row["set_aside_until"] = document["snapshot"]["now"] + 3600 if row["past_victims"] else None
        del row["past_victims"], row["preempted_in_vain"]
    document["decisions"] = {
        pk: words.removesuffix(", preemption suspended")
        for pk, words in document["decisions"].items()
    }
    former = zlib.compress(json.dumps(document).encode())
    SchedulingCycle.objects.filter(pk=suspending.pk).update(record=former)

    call_command("replay", suspending.pk)

    assert capsys.readouterr().out == "The same plan.\n"
    assert unpack(former)[0].deployments[1].set_aside_until is not None


def _tampered(cycle: SchedulingCycle) -> bytes:
    document = json.loads(zlib.decompress(bytes(cycle.record or b"")))
    document["decisions"] = {}
    return zlib.compress(json.dumps(document).encode())


def test_every_kind_of_decision_is_read_back() -> None:
    plan = Plan(
        placements=(Placement(1, 7, "placed", ""),),
        evictions=(Eviction(2, 7, 1, True, "preempted", ""), Eviction(3, 8, None, False, "", "")),
        moves=(Move(4, 7, 8, 1, "preempted", ""), Move(5, 7, 8, None, "drained", "")),
        holds=(Hold(6, "no_room", {}, ""),),
    )

    read_back = [read(int(pk), words) for pk, words in sorted(decisions(plan).items())]

    assert read_back == [
        Decision(1, "placed", target=7), Decision(2, "evicted", source=7, for_=1),
        Decision(3, "evicted", source=8), Decision(4, "moved", source=7, target=8, for_=1),
        Decision(5, "moved", source=7, target=8), Decision(6, "waits", code="no_room"),
    ]  # fmt: skip
    assert read(9, STAYS) == Decision(9, "stays")


def test_what_is_no_decision_is_refused() -> None:
    with pytest.raises(ValueError, match="deployment 3"):
        read(3, "sings, out of tune")
