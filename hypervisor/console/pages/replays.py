"""Planning a recorded cycle again: the same plan, or what other settings would have done."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from django import forms

from deployments.models import Deployment
from hypervisor.base.forms import IntegerFormField
from scheduling.cycle.recording import Decision, Difference, read, replay
from scheduling.planner.policy import Backfill, Order
from scheduling.planner.snapshot import Deployment as Planned
from scheduling.planner.snapshot import Snapshot

KINDS = ("evicted", "moved", "placed", "waits")
"""What a cycle does with a deployment, in the order in which one wants to know."""

_SHOWN = 200


class PolicyForm(forms.Form):
    """The thresholds of the planner, as settings that a replay may try."""

    min_run_seconds = IntegerFormField(
        label="Shortest run (s)", min_value=0, help_text="Placed for less: not preempted."
    )
    preemption_budget = IntegerFormField(
        label="Evictions allowed", min_value=0, help_text="After so many it is spared."
    )
    budget_override_gap = IntegerFormField(
        label="Gap that overrides",
        min_value=0,
        help_text="Higher by so much: preempts.",
    )
    starvation_seconds = IntegerFormField(
        label="Long wait (s)", min_value=0, help_text="Then room is held for it."
    )
    order = forms.ChoiceField(
        choices=[(each.value, each.value) for each in Order], help_text="Within a level."
    )
    backfill = forms.ChoiceField(
        choices=[(each.value, each.value) for each in Backfill], help_text="Who may use held room."
    )


@dataclass(frozen=True, slots=True)
class Changed:
    """A deployment with which the replay does something else."""

    name: str
    was: Decision
    now: Decision
    planned: Planned | None


@dataclass(frozen=True, slots=True)
class Replay:
    """What planning again came to: nothing else, or this; `counts` are before and after by kind."""

    settings: Mapping[str, Any]
    differences: Sequence[Difference]
    shown: Sequence[Changed]
    counts: Sequence[tuple[str, int, int]]


def replayed(
    record: bytes, snapshot: Snapshot, decided: Sequence[Decision], form: PolicyForm
) -> Replay | None:
    """Plan again with the settings of the form; None when they make no sense."""
    if not form.is_valid():
        return None
    present = asdict(snapshot.policy)
    settings = {n: v for n, v in form.cleaned_data.items() if v != present[n]}
    differences = replay(record, settings)
    pairs = [(read(d.deployment, d.was), read(d.deployment, d.now)) for d in differences]
    before = Counter(d.kind for d in decided)
    after = Counter(before)
    for was, now in pairs:
        after[was.kind] -= 1
        after[now.kind] += 1
    shown = pairs[:_SHOWN]
    names = names_of(d for pair in shown for d in pair)
    planned = {row.id: row for row in snapshot.deployments}
    return Replay(
        settings=settings,
        differences=differences,
        shown=[
            Changed(
                names.get(was.deployment, f"deployment {was.deployment}"),
                was,
                now,
                planned.get(was.deployment),
            )
            for was, now in shown
        ],
        counts=[(kind, before[kind], after[kind]) for kind in KINDS],
    )


def names_of(decisions: Iterable[Decision]) -> dict[int, str]:
    ids = {pk for d in decisions for pk in (d.deployment, d.for_) if pk}
    return dict(Deployment.objects.filter(pk__in=ids).values_list("pk", "name"))
