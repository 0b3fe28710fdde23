"""Replay a recorded cycle, to check its plan or to try other thresholds."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from django import forms

from deployments.models import Deployment
from hypervisor.base.forms import IntegerFormField
from scheduling.cycle.recording import Decision, Difference, Kind, replay
from scheduling.planner.policy import Policy, Threshold
from scheduling.planner.snapshot import Deployment as Planned
from scheduling.planner.snapshot import Snapshot

KINDS = (Kind.EVICTED, Kind.MOVED, Kind.PLACED, Kind.WAITS)
"""The kinds of decisions, the most important first."""

_SHOWN = 200


class PolicyForm(forms.Form):
    """The thresholds that a replay may change, initially with the recorded values."""

    def __init__(self, policy: Policy, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(data, initial=asdict(policy))
        for each in policy.thresholds():
            if each.replayable:
                self.fields[each.name] = _field(each)


def _field(threshold: Threshold) -> forms.Field:
    label, meaning = threshold.label, threshold.meaning.replace("`", "")
    if threshold.choices:
        choices = [(each, each) for each in threshold.choices]
        return forms.ChoiceField(choices=choices, label=label, help_text=meaning)
    return IntegerFormField(
        min_value=threshold.at_least,
        max_value=threshold.at_most,
        label=label,
        help_text=meaning,
    )


@dataclass(frozen=True, slots=True)
class Changed:
    """A deployment for which the replay decides differently."""

    name: str
    was: Decision
    now: Decision
    planned: Planned | None


@dataclass(frozen=True, slots=True)
class Replay:
    """The result of a replay; `counts` are the decisions of each kind before and after."""

    settings: Mapping[str, Any]
    differences: Sequence[Difference]
    shown: Sequence[Changed]
    counts: Sequence[tuple[str, int, int]]


def replayed(
    record: bytes, snapshot: Snapshot, decided: Sequence[Decision], form: PolicyForm
) -> Replay | None:
    """Plan again with the form's thresholds; return None if they are invalid."""
    if not form.is_valid():
        return None
    present = asdict(snapshot.policy)
    settings = {n: v for n, v in form.cleaned_data.items() if v != present[n]}
    differences = replay(record, settings)
    before = Counter(d.kind for d in decided)
    after = Counter(before)
    for difference in differences:
        after[difference.was.kind] -= 1
        after[difference.now.kind] += 1
    shown = differences[:_SHOWN]
    names = names_of(decision for d in shown for decision in (d.was, d.now))
    planned = {row.id: row for row in snapshot.deployments}
    return Replay(
        settings=settings,
        differences=differences,
        shown=[
            Changed(
                names.get(each.deployment, f"deployment {each.deployment}"),
                each.was,
                each.now,
                planned.get(each.deployment),
            )
            for each in shown
        ],
        counts=[(kind, before[kind], after[kind]) for kind in KINDS],
    )


def names_of(decisions: Iterable[Decision]) -> dict[int, str]:
    ids = {pk for d in decisions for pk in (d.deployment, d.for_) if pk}
    return dict(Deployment.objects.filter(pk__in=ids).values_list("pk", "name"))
