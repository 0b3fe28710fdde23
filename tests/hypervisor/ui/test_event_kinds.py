"""The kinds of events as people choose and read them."""

from hypervisor.ui.data.event_kinds import (
    GROUPS,
    grouped,
    in_words,
    label_of,
)
from orgs.feed.kinds import BY_SUBJECT, KINDS


def test_each_kind_is_in_one_group_with_a_meaning() -> None:
    offered = [kind for group in GROUPS for kind in group.kinds]
    assert sorted(offered) == KINDS
    assert all(text for group in GROUPS for text in group.kinds.values())


def test_a_subject_stands_for_all_of_its_kinds_and_is_named_first() -> None:
    assert in_words(["node_lost", "cluster"]) == "All of clusters and nodes, node lost"
    assert in_words(["runtime_reached", "failed"]) == "Failed, runtime reached"
    assert in_words(["restarted", "deployment"]) == "All of deployments, restarted"
    assert not set(BY_SUBJECT) & set(KINDS)


def test_no_kind_means_all_of_them() -> None:
    assert in_words([]) == "All events"


def test_only_the_given_kinds_are_offered_with_their_labels() -> None:
    assert grouped({"node_lost", "ping", None}) == [
        ("Clusters and nodes", [("node_lost", "Node lost")]),
        ("Tests", [("ping", "Test message")]),
    ]
    assert label_of("webhook_secret_rotated") == "Webhook secret rotated"
