"""A serializer that requests share validates and represents as one that is made for a request."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rest_framework.exceptions import ValidationError

from deployments.choices import Status
from deployments.models import Dependency, Deployment
from deployments.serializers import BulkSerializer, DeploymentSerializer

_NAMES = [*DeploymentSerializer.Meta.fields, "no_such_field"]
_USUAL: dict[str, Any] = {"name": "job", "image": "ml/train:1", "cpu": 1, "ram_mib": 1024}
_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(
        ["", " ", "1", "0.5", "500m", "8Gi", "ml/train:1", "Bad Image", "wait", "x" * 999]
    ),
    st.sampled_from(["never", "on-failure", "cancel", "\u00e9", "a\x00b"]),
    st.lists(st.sampled_from(["a", 1, None, {"deployment": 3}]), max_size=3),
    st.dictionaries(
        st.sampled_from(["A", "b.c", "1bad", "uid", "gid", ""]),
        st.sampled_from(["v", 7, None, ["a"], {"not": ["b"]}]),
        max_size=3,
    ),
)
bodies = st.dictionaries(st.sampled_from(_NAMES), _VALUES, max_size=6).map(lambda d: _USUAL | d)


def outcome(serializer: Any) -> Any:
    try:
        serializer.is_valid(raise_exception=True)
    except ValidationError as error:
        return error.get_full_details()
    return dict(serializer.validated_data)


@settings(max_examples=400, deadline=None, derandomize=True, database=None)
@given(bodies | _VALUES)
def test_every_body_has_the_same_outcome(body: Any) -> None:
    assert outcome(DeploymentSerializer.of(body)) == outcome(DeploymentSerializer(data=body))


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(st.lists(bodies, max_size=3) | _VALUES)
def test_every_bulk_has_the_same_outcome(rows: Any) -> None:
    body = {"deployments": rows}
    assert outcome(BulkSerializer.of(body)) == outcome(BulkSerializer(data=body))


@pytest.mark.parametrize("body", [None, [], "text", 7, {}])
def test_a_body_that_is_no_object_or_empty_has_the_same_errors(body: Any) -> None:
    assert outcome(DeploymentSerializer.of(body)) == outcome(DeploymentSerializer(data=body))


def test_requests_share_no_values() -> None:
    first, second = (DeploymentSerializer.of(dict(_USUAL)) for _ in range(2))
    for serializer in (first, second):
        serializer.is_valid(raise_exception=True)

    first.validated_data["env"]["A"] = "1"
    first.validated_data["command"].append("x")

    assert (second.validated_data["env"], second.validated_data["command"]) == ({}, [])


@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=5, minutes=30))])
@pytest.mark.parametrize("microsecond", [0, 120])
def test_a_row_has_the_same_representation(zone: Any, microsecond: int) -> None:
    row = Deployment(
        pk=7, organization_id=3, created_by_id=None, name="job", image="ml/train:1",
        cpu_milli=1500, ram_mib=1024, gpu=1, env={"A": "1", "S": {"secret": "sealed"}},
        run_as={"uid": 1, "gid": None}, status=Status.PENDING,
        queued_at=datetime(2026, 1, 2, 3, 4, 5, microsecond, zone),
    )  # fmt: skip
    for user in (None, 5):
        row.created_by_id = user
        row._prefetched_objects_cache = {  # type: ignore[attr-defined]
            "dependencies": [Dependency(on_id=4, condition="completed")]
        }

        shown = DeploymentSerializer.of({}).to_representation(row)

        assert shown == DeploymentSerializer().to_representation(row)
        assert list(shown) == DeploymentSerializer.Meta.fields


def test_a_serializer_that_is_made_for_a_request_is_not_compiled() -> None:
    assert DeploymentSerializer()._compiled is None
    assert DeploymentSerializer.of({})._compiled is not None
    rows: Any = BulkSerializer.of({}).fields["deployments"]
    assert rows.child._compiled is not None
