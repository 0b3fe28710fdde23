import json
import zlib
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from clusters.models import Cluster
from deployments.choices import Status
from orgs.models import Organization
from scheduling.cycle.recording import Decision, Kind, decisions, pack, unpack
from scheduling.cycle.run import run_cycle
from scheduling.models import SchedulingCycle
from scheduling.planner.plan import Eviction, Move, Placement, Plan, Stated, Suspension, WaitReason
from scheduling.planner.policy import Policy
from scheduling.planner.snapshot import Snapshot
from tests.fixtures.deployments import Submit
from tests.support.preemption import preempt_in_vain

pytestmark = pytest.mark.django_db


@pytest.fixture
def preempting(acme: Organization, forge: Cluster, submit: Submit) -> SchedulingCycle:
    """A cycle in which one deployment preempted another."""
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


def test_a_record_contains_the_snapshot_and_the_decisions(preempting: SchedulingCycle) -> None:
    snapshot, decided = unpack(bytes(preempting.record or b""))

    victim, preemptor = snapshot.deployments
    (cluster,) = snapshot.clusters
    assert (victim.priority, preemptor.priority) == (10, 20)
    assert decided == {
        victim.id: Decision(victim.id, Kind.EVICTED, source=cluster.id, for_=preemptor.id),
        preemptor.id: Decision(preemptor.id, Kind.PLACED, target=cluster.id),
    }


def test_a_replay_gives_the_same_plan(
    preempting: SchedulingCycle, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("replay", preempting.pk)

    assert capsys.readouterr().out == "The same plan.\n"


def test_a_replay_with_other_settings_lists_the_differences(
    preempting: SchedulingCycle, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("replay", preempting.pk, "--set", "min_run_seconds=3600")

    out = capsys.readouterr().out
    assert "2 differences" in out
    assert "→ stays" in out
    assert preempting.organization.deployments.filter(status=Status.PENDING).count() == 1


@pytest.mark.parametrize(
    "setting", ["no_such=1", "order=backwards", "min_run_seconds", "backoff_seconds=5"]
)
def test_an_error_in_a_setting_names_it(preempting: SchedulingCycle, setting: str) -> None:
    with pytest.raises(CommandError, match=setting.split("=", maxsplit=1)[0]):
        call_command("replay", preempting.pk, "--set", setting)


def test_a_replay_that_differs_from_the_record_is_an_error(preempting: SchedulingCycle) -> None:
    SchedulingCycle.objects.filter(pk=preempting.pk).update(record=_tampered(preempting))

    with pytest.raises(CommandError, match="differs from the one that was applied"):
        call_command("replay", preempting.pk)


@pytest.fixture
def suspending(acme: Organization, forge: Cluster, submit: Submit) -> SchedulingCycle:
    """A cycle that suspended preemption for a deployment instead of preempting for it again."""
    submit(cpu_milli=8000, priority=10)
    run_cycle(acme.pk, SchedulingCycle.Trigger.CHANGE)
    preemptor = submit(cpu_milli=8000, priority=50)
    run_cycle(acme.pk, SchedulingCycle.Trigger.CHANGE)
    preempt_in_vain(preemptor)
    cycle = run_cycle(acme.pk, SchedulingCycle.Trigger.CHANGE)
    assert cycle is not None
    assert cycle.suspended == 1
    return cycle


def test_a_replay_suspends_preemption_as_the_cycle_did(
    suspending: SchedulingCycle, capsys: pytest.CaptureFixture[str]
) -> None:
    snapshot, decided = unpack(bytes(suspending.record or b""))

    call_command("replay", suspending.pk)

    assert capsys.readouterr().out == "The same plan.\n"
    (preemptor,) = (d for d in snapshot.deployments if d.past_victims)
    assert decided[preemptor.id] == Decision(
        preemptor.id, Kind.WAITS, code="preemption_suspended", suspended=True
    )


def test_a_record_of_a_release_without_past_preemptions_gives_the_same_plan(
    suspending: SchedulingCycle, capsys: pytest.CaptureFixture[str]
) -> None:
    """The snapshot in such a record already contains the end of the suspension."""
    document = _of_the_former_release(suspending)
    for row in document["snapshot"]["deployments"]:
        row["set_aside_until"] = document["snapshot"]["now"] + 3600 if row["past_victims"] else None
        row["started_at"] = row.pop("placed_at")
        row["preemptions"] = row.pop("recent_preemptions")
        del row["past_victims"], row["preempted_in_vain"], row["suspended_until"]
    document["decisions"] = {
        pk: words.removesuffix(", preemption suspended")
        for pk, words in document["decisions"].items()
    }
    former = zlib.compress(json.dumps(document).encode())
    SchedulingCycle.objects.filter(pk=suspending.pk).update(record=former)

    call_command("replay", suspending.pk)

    assert capsys.readouterr().out == "The same plan.\n"
    assert unpack(former)[0].deployments[1].suspended_until is not None


def test_a_record_with_decisions_as_text_gives_the_same_plan(
    suspending: SchedulingCycle, capsys: pytest.CaptureFixture[str]
) -> None:
    former = zlib.compress(json.dumps(_of_the_former_release(suspending)).encode())
    decided = unpack(bytes(suspending.record or b""))[1]
    SchedulingCycle.objects.filter(pk=suspending.pk).update(record=former)

    call_command("replay", suspending.pk)

    assert capsys.readouterr().out == "The same plan.\n"
    assert unpack(former)[1] == decided


def test_the_former_release_finds_no_decisions_in_a_record(preempting: SchedulingCycle) -> None:
    document = json.loads(zlib.decompress(bytes(preempting.record or b"")))

    assert document["decisions"] == {}


def _tampered(cycle: SchedulingCycle) -> bytes:
    document = json.loads(zlib.decompress(bytes(cycle.record or b"")))
    document["decided"] = []
    return zlib.compress(json.dumps(document).encode())


def _of_the_former_release(cycle: SchedulingCycle) -> dict[str, Any]:
    """Return the document of a record in the format of the former release."""
    snapshot, decided = unpack(bytes(cycle.record or b""))
    words = {str(pk): str(decision) for pk, decision in decided.items()}
    return {"snapshot": snapshot.to_json(), "decisions": words}


PLAN = Plan(
    placements=(Placement(1, 7, 7, "placed", ""),),
    evictions=(Eviction(2, 7, 7, 1, True, "preempted", ""), Eviction(3, 8, 8, None, False, "", "")),
    moves=(Move(4, 7, 7, 8, 8, 1, "preempted", ""), Move(5, 7, 7, 8, 8, None, "drained", "")),
    wait_reasons=(WaitReason(6, Stated("no_room", "")), WaitReason(7, Stated("thrash", ""))),
    suspensions=(Suspension(7, 1_003_600, "thrash", ""),),
)
DECIDED = [
    Decision(1, Kind.PLACED, target=7), Decision(2, Kind.EVICTED, source=7, for_=1),
    Decision(3, Kind.EVICTED, source=8), Decision(4, Kind.MOVED, source=7, target=8, for_=1),
    Decision(5, Kind.MOVED, source=7, target=8), Decision(6, Kind.WAITS, code="no_room"),
    Decision(7, Kind.WAITS, code="thrash", suspended=True),
]  # fmt: skip
SNAPSHOT = Snapshot(now=1_000_000, policy=Policy(), clusters=(), deployments=())
WORDS = {
    "1": "placed on 7",
    "2": "evicted from 7 for 1",
    "3": "evicted from 8 for None",
    "4": "moved from 7 to 8 for 1",
    "5": "moved from 7 to 8 for None",
    "6": "waits (no_room)",
    "7": "waits (thrash), preemption suspended",
}
"""The same decisions in the format of the former release."""


def test_every_kind_of_decision_is_recorded_and_read() -> None:
    snapshot, decided = unpack(pack(SNAPSHOT, PLAN))

    assert snapshot == SNAPSHOT
    assert decided == decisions(SNAPSHOT, PLAN) == {each.deployment: each for each in DECIDED}


def test_the_decisions_of_the_former_release_are_read() -> None:
    document = {"snapshot": SNAPSHOT.to_json(), "decisions": WORDS}

    _, decided = unpack(zlib.compress(json.dumps(document).encode()))

    assert decided == decisions(SNAPSHOT, PLAN)


def test_a_decision_is_shown_as_text() -> None:
    assert [str(each) for each in DECIDED] == [
        words.removesuffix(" for None") for words in WORDS.values()
    ]
    assert str(Decision(9, Kind.STAYS)) == "stays"


@pytest.mark.parametrize("words", ["sings, out of tune", "sings on 3"])
def test_a_text_that_is_not_a_decision_is_rejected(words: str) -> None:
    document = {"snapshot": SNAPSHOT.to_json(), "decisions": {"3": words}}

    with pytest.raises(ValueError, match="deployment 3"):
        unpack(zlib.compress(json.dumps(document).encode()))


def test_a_replay_as_json_has_the_decisions_as_data(
    preempting: SchedulingCycle, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("replay", preempting.pk, "--set", "min_run_seconds=3600", "--json")

    first = json.loads(capsys.readouterr().out)["differences"][0]
    assert (first["was"]["kind"], first["now"]["kind"]) == ("evicted", "stays")
    assert {first[key]["deployment"] for key in ("was", "now")} == {first["deployment"]}
