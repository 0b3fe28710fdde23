"""A new field of Policy appears in settings, pages, commands and records."""

import argparse
import json
import zlib
from dataclasses import asdict, dataclass
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from hypervisor import env
from hypervisor.console.pages.replays import PolicyForm
from scheduling.cycle.recording import pack, unpack
from scheduling.management.set_option import add_set
from scheduling.planner import snapshot as snapshot_module
from scheduling.planner.plan import Plan
from scheduling.planner.policy import Policy, Unit, threshold
from scheduling.planner.snapshot import Snapshot

SETTING = "SCHEDULER_PATIENCE_SECONDS"


@dataclass(frozen=True, slots=True)
class Wider(Policy):
    patience_seconds: int = threshold(
        7, Unit.SECONDS, "How long a `test` waits.", at_least=1, at_most=90
    )


def test_the_settings_have_a_row_for_it_that_is_checked(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    (row,) = [row for row in env.of_thresholds(Wider) if row not in env.SETTINGS]
    assert row == env.Setting(SETTING, "int", 7, "How long a `test` waits.", 1, 90)

    monkeypatch.setattr(env, "SETTINGS", (*env.SETTINGS, row))
    monkeypatch.setenv(SETTING, "8")
    assert Wider.from_settings(env.read()).patience_seconds == 8

    monkeypatch.setenv(SETTING, "91")
    with pytest.raises(ImproperlyConfigured, match=rf"{SETTING}: .*1 .*90.* How long a `test`"):
        env.read()


def test_the_replay_form_has_a_field_for_it_with_label_unit_help_and_bounds() -> None:
    field = PolicyForm(Wider(patience_seconds=9))["patience_seconds"]
    assert (field.label, field.help_text, field.initial) == (
        "Patience (seconds)", "How long a test waits.", 9,
    )  # fmt: skip

    assert "backoff_seconds" not in PolicyForm(Wider()).fields  # it applies after planning

    form = PolicyForm(Wider(), {**asdict(Wider()), "patience_seconds": "91"})
    assert form.errors == {"patience_seconds": ["Ensure this value is less than or equal to 90."]}


def set_option() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    add_set(parser, Wider.thresholds())
    return parser


def test_the_option_set_accepts_it_and_its_help_shows_unit_and_bounds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    parser = set_option()

    given = parser.parse_args(["--set", "patience_seconds=8", "--set", "order=fifo"])
    assert given.set == [("patience_seconds", 8), ("order", "fifo")]
    assert "patience_seconds: a whole number of seconds, from 1 to 90" in " ".join(
        parser.format_help().split()
    )

    with pytest.raises(SystemExit):
        parser.parse_args(["--set", "patience_seconds=91"])
    assert (
        "policy.patience_seconds: 91 is not a whole number of seconds, from 1 to 90"
        in capsys.readouterr().err
    )


def snapshot(policy: Policy) -> Snapshot:
    return Snapshot(100, policy, (), ())


def test_the_json_form_of_a_snapshot_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_module, "Policy", Wider)
    before = snapshot(Wider(patience_seconds=8, order="fifo"))

    document = json.loads(json.dumps(before.to_json()))

    assert document["policy"]["patience_seconds"] == 8
    assert Snapshot.from_json(document) == before


FORMER: dict[str, Any] = {
    "min_run_seconds": 60, "preemption_budget": 2, "budget_override_gap": 40,
    "starvation_seconds": 600, "order": "fifo", "backfill": "ending",
}  # fmt: skip
"""The policy in a record of the release before the window and the back-offs were fields."""


def record(policy: dict[str, Any]) -> bytes:
    document = json.loads(zlib.decompress(pack(snapshot(Policy()), Plan())))
    document["snapshot"]["policy"] = policy
    return zlib.compress(json.dumps(document).encode())


def test_a_record_from_before_it_gets_the_default() -> None:
    read, _ = unpack(record(FORMER))

    assert read.policy == Policy(**FORMER)
    assert (read.policy.budget_window_seconds, read.policy.backoff_seconds) == (86_400, 60)


def test_a_record_with_a_removed_threshold_is_read_without_it() -> None:
    read, _ = unpack(record({**FORMER, "patience_seconds": 8}))

    assert read.policy == Policy(**FORMER)
