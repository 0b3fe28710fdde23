"""The kinds of events as people choose and read them, in groups with labels and meanings."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from orgs.feed.kinds import BY_SUBJECT, KINDS
from orgs.models import Event
from orgs.webhooks.messages import TEST

_ALL_OF = "all-of-"
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
            (f"{_ALL_OF}{subject}", f"All of {_SHORT[subject]}"),
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


def kinds_of(choices: Iterable[str]) -> list[str]:
    """Return the kinds for choices, some of which stand for all kinds of a subject."""
    found: set[str] = set()
    for choice in choices:
        subject = choice.removeprefix(_ALL_OF)
        found.update([choice] if subject == choice else BY_SUBJECT[Event.Subject(subject)])
    return sorted(found)


def choices_for(kinds: Collection[str]) -> list[str]:
    """Return the fewest choices for the kinds: a whole subject if all of its kinds are there."""
    whole = [subject for subject in _TITLES if set(BY_SUBJECT[subject]) <= set(kinds)]
    covered = {kind for subject in whole for kind in BY_SUBJECT[subject]}
    return [*(f"{_ALL_OF}{subject}" for subject in whole), *sorted(set(kinds) - covered)]


def in_words(kinds: Collection[str]) -> str:
    """Return the kinds as people read them; none of them means all."""
    names = {group.whole[0]: group.whole[1] for group in GROUPS if group.whole}
    words = [names.get(choice) or label_of(choice) for choice in choices_for(kinds)]
    return ", ".join([*words[:1], *(word.lower() for word in words[1:])]) or "All events"
