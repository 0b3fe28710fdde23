"""Compressed pieces make one ordinary zlib stream, and those that are unchanged are kept."""

import zlib
from dataclasses import replace
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduling.cycle import recording
from scheduling.cycle.deflating import deflate, joined
from scheduling.cycle.recording import decisions, pack, unpack
from scheduling.planner.pipeline import make_plan
from scheduling.planner.policy import Policy
from scheduling.planner.resources import Resources
from scheduling.planner.snapshot import Cluster, Deployment, Snapshot


@given(st.lists(st.binary(max_size=5000)))
def test_the_pieces_are_one_stream(texts: list[bytes]) -> None:
    assert zlib.decompress(joined(map(deflate, texts))) == b"".join(texts)


def test_the_checksum_of_very_many_bytes_is_right() -> None:
    texts = [b"\xff" * 70_000, b"", b"\x00" * 70_000, b"\xff" * 200_000]

    assert zlib.decompress(joined(map(deflate, texts))) == b"".join(texts)


@pytest.fixture
def waiting() -> Snapshot:
    """A thousand deployments that wait, in several blocks, for one that is active."""
    clusters = (Cluster(1, Resources(1000, 1000, 8)),)
    active = Deployment(1, 50, Resources(1000, 1000, 8), 0, cluster=1, placed_at=0)
    others = [Deployment(pk, 1, Resources(pk, 1, 1), pk) for pk in range(2, 1002)]
    return Snapshot(now=1000, policy=Policy(), clusters=clusters, deployments=(active, *others))


@pytest.mark.parametrize("codes", [True, False])
def test_a_record_with_or_without_codes_has_all_decisions(waiting: Snapshot, codes: bool) -> None:
    plan = make_plan(waiting)

    snapshot, decided = unpack(pack(waiting, plan, codes=codes))

    assert snapshot == waiting
    assert decided == decisions(waiting, plan)
    assert len(decided) == 1000


def test_only_the_blocks_with_changes_are_compressed_again(
    waiting: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(waiting)
    pack(waiting, plan)
    absent, new = waiting.deployments[300], replace(waiting.deployments[-1], id=2000)
    changed = [*(d for d in waiting.deployments if d is not absent), new]
    later = replace(waiting, deployments=tuple(changed))
    number = count()
    monkeypatch.setattr(recording, "deflate", lambda text: (next(number), deflate(text))[1])

    record = pack(later, make_plan(later))

    assert unpack(record)[0] == later
    assert next(number) == 3  # the beginning, the block with the absent one, the last one
