"""Reading a snapshot from a document: what is rejected, and the error texts."""

from random import Random
from typing import Any

import pytest

from scheduling.planner import snapshot
from scheduling.planner.parsing import Fields
from scheduling.planner.pipeline import make_plan
from scheduling.planner.snapshot import Snapshot


def document(**changes: Any) -> dict[str, Any]:
    cluster = {"id": 1, "cpu_milli": 8_000, "ram_mib": 32_768, "gpu": 2, "state": "active"}
    deployment = {
        "id": 7, "priority": 50, "cpu_milli": 4_000, "ram_mib": 16_384, "gpu": 1, "queued_at": 900,
    }  # fmt: skip
    return {
        "now": 1_000,
        "policy": {},
        "clusters": [cluster],
        "deployments": [deployment],
    } | changes


def test_fields_with_a_default_may_be_left_out() -> None:
    assert [p.deployment for p in make_plan(Snapshot.from_json(document())).placements] == [7]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"now": "noon"}, "snapshot.now: expected a whole number"),
        ({"now": True}, "snapshot.now: expected a whole number"),
        ({"clusters": {}}, "snapshot.clusters: expected a list"),
        ({"clusters": [{"id": 1}]}, "clusters[0].cpu_milli: is missing"),
        ({"colour": "red"}, "snapshot.colour: no such field"),
        ({"policy": {"budget": 3}}, "policy.budget: no such threshold"),
        ({"policy": {"order": "random"}}, "policy.order: 'random' is not one of most, fifo"),
        ({"policy": {"min_run_seconds": -1}}, "policy.min_run_seconds: -1 is not a whole number"),
        ({"policy": {"backfill": "all"}}, "policy.backfill: 'all' is not one of"),
    ],
)
def test_an_error_in_a_snapshot_names_the_field(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match="^" + complaint.replace("[", r"\[").replace("]", r"\]")):
        Snapshot.from_json(document(**change))


def test_an_unknown_cluster_state_is_rejected() -> None:
    rows = document()
    rows["clusters"][0]["state"] = "gone"
    with pytest.raises(ValueError, match=r"clusters\[0\].state: must be one of active, cordoned"):
        Snapshot.from_json(rows)


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("past_victims", 3, "expected a list"),
        ("past_victims", [1, "2"], "expected whole numbers of at least 0"),
        ("past_victims", [True], "expected whole numbers of at least 0"),
        ("preempted_in_vain", "no", "expected true or false"),
    ],
)
def test_an_error_in_the_past_preemptions_names_the_field(
    field: str, value: object, complaint: str
) -> None:
    rows = document()
    rows["deployments"][0][field] = value
    with pytest.raises(ValueError, match=rf"^deployments\[0\].{field}: {complaint}$"):
        Snapshot.from_json(rows)


def test_an_id_that_occurs_twice_is_rejected() -> None:
    rows = document()
    rows["deployments"] *= 2
    with pytest.raises(ValueError, match="deployments: the id 7 occurs more than once"):
        Snapshot.from_json(rows)


def test_a_deployment_on_an_unknown_cluster_is_rejected() -> None:
    rows = document()
    rows["deployments"][0] |= {"cluster": 9, "started_at": 950}
    with pytest.raises(ValueError, match="deployment 7: cluster 9 is not in the snapshot"):
        Snapshot.from_json(rows)


def test_a_row_that_is_read_at_once_is_the_same_as_field_by_field() -> None:
    random, at_once = Random(1), 0
    names = [*snapshot._PLAIN, "cpu_milli", "require", "started_at", "preemptions", "unknown"]
    values: list[Any] = [0, 1, -1, None, True, [], [1], {}, "text", 1.5, 10**20]
    for _ in range(3_000):
        [row] = document()["deployments"]
        row |= {random.choice(names): random.choice(values) for _ in range(random.randrange(4))}
        found = snapshot._plain_deployment(row)
        if found is not None:
            at_once += 1
            assert repr(found) == repr(snapshot._deployment(Fields(row, "row")))
    assert 500 < at_once < 2_500
