"""The kinds of events as people choose and read them."""

from hypervisor.ui.data.event_kinds import (
    GROUPS,
    choices_for,
    grouped,
    in_words,
    kinds_of,
    label_of,
)
from orgs.feed.kinds import KINDS, OF_CLUSTERS, OF_DEPLOYMENTS


def test_each_kind_is_in_one_group_with_a_meaning() -> None:
    offered = [kind for group in GROUPS for kind in group.kinds]
    assert sorted(offered) == KINDS
    assert all(text for group in GROUPS for text in group.kinds.values())


def test_a_whole_subject_is_one_choice() -> None:
    everything = kinds_of(["all-of-deployment", "node_lost"])

    assert everything == sorted({*OF_DEPLOYMENTS, "node_lost"})
    assert choices_for(everything) == ["all-of-deployment", "node_lost"]
    assert in_words(everything) == "All of deployments, node lost"


def test_part_of_a_subject_is_named_by_its_kinds() -> None:
    assert choices_for(["failed", "evicted"]) == ["evicted", "failed"]
    assert in_words(["runtime_reached", "failed"]) == "Failed, runtime reached"
    assert "All of clusters and nodes" in in_words(list(OF_CLUSTERS))


def test_no_kind_means_all_of_them() -> None:
    assert in_words([]) == "All events"


def test_only_the_given_kinds_are_offered_with_their_labels() -> None:
    assert grouped({"node_lost", "ping", None}) == [
        ("Clusters and nodes", [("node_lost", "Node lost")]),
        ("Tests", [("ping", "Test message")]),
    ]
    assert label_of("webhook_secret_rotated") == "Webhook secret rotated"
