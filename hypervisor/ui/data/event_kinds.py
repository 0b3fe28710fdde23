"""The kinds of events as people choose and read them, in groups with labels and meanings."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from orgs.feed.kinds import BY_SUBJECT, KINDS
from orgs.models import Event
from orgs.webhooks.messages import TEST

_TITLES = {
    Event.Subject.DEPLOYMENT: "Deployments",
    Event.Subject.CLUSTER: "Clusters and nodes",
    Event.Subject.ORGANIZATION: "Organization, members and settings",
}
_SHORT = {
    Event.Subject.DEPLOYMENT: "deployments",
    Event.Subject.CLUSTER: "clusters and nodes",
    Event.Subject.ORGANIZATION: "the organization",
}
_SHARED_TITLE = "Several of these"


@dataclass(frozen=True, slots=True)
class Group:
    """Kinds of events with their meanings; `whole` is the choice of all of a subject, if any."""

    title: str
    whole: tuple[str, str] | None
    kinds: Mapping[str, str]


def _subjects_of(kind: str) -> list[Event.Subject]:
    return [subject for subject, kinds in BY_SUBJECT.items() if kind in kinds]


def _groups() -> list[Group]:
    """Return a group for each subject, and a last one of the kinds that several subjects have."""
    groups = [
        Group(
            title,
            (str(subject), f"All of {_SHORT[subject]}"),
            {k: text for k, text in BY_SUBJECT[subject].items() if len(_subjects_of(k)) == 1},
        )
        for subject, title in _TITLES.items()
    ]
    shared = {
        kind: " ".join(f"{s.label}: {BY_SUBJECT[s][kind]}" for s in subjects)
        for kind in KINDS
        if len(subjects := _subjects_of(kind)) > 1
    }
    return [*groups, Group(_SHARED_TITLE, None, shared)]


GROUPS = _groups()
"""All kinds, each in one group."""


def label_of(kind: str) -> str:
    """Return the kind of an event or of a test as a label, such as `Node lost`."""
    return "Test message" if kind == TEST else kind.replace("_", " ").capitalize()


def grouped(kinds: Collection[str | None]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return those kinds that are given, with their labels, in their groups; tests come last."""
    titles = [(group.title, group.kinds) for group in GROUPS]
    found = [
        (title, [(kind, label_of(kind)) for kind in own if kind in kinds])
        for title, own in [*titles, ("Tests", {TEST: ""})]
    ]
    return [(title, members) for title, members in found if members]


def in_words(kinds: Collection[str]) -> str:
    """Return the kinds as people read them, whole subjects first; none of them means all."""
    names = {group.whole[0]: group.whole[1] for group in GROUPS if group.whole}
    ordered = sorted(kinds, key=lambda kind: (kind not in names, kind))
    words = [names.get(kind) or label_of(kind) for kind in ordered]
    return ", ".join([*words[:1], *(word.lower() for word in words[1:])]) or "All events"
