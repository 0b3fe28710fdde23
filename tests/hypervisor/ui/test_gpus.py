"""The GPUs of a node as cells."""

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from clusters.capacity import Capacity
from deployments.models import Deployment
from deployments.runtime.models import Run
from hypervisor.ui.data.cluster_data import Reservation
from hypervisor.ui.data.gpus import Block, Gpus, gpus_of
from hypervisor.ui.templatetags.wording import gpus

START = datetime(2026, 3, 1, 12, tzinfo=UTC)

_numbers = count(1)


def run(name: str, gpu: int, **fields: Any) -> Run:
    """Return a run with a container; each is placed a second after the one before."""
    number = next(_numbers)
    placed = START + timedelta(seconds=number)
    deployment = Deployment(pk=number, name=name, priority=50)
    times = {"placed_at": placed, "launched_at": placed}
    return Run(pk=number, deployment=deployment, gpu=gpu, **(times | fields))


def waiting(name: str, gpu: int) -> Run:
    return run(name, gpu, launched_at=None)


def stopping(name: str, gpu: int, **fields: Any) -> Run:
    return run(name, gpu, released_at=START + timedelta(hours=1), **fields)


def reservation(name: str, gpu: int) -> Reservation:
    return Reservation(4711, name, 1, Capacity(1000, 1024, gpu), None)


def drawn(found: Gpus) -> list[list[str]]:
    """Return each group as texts, such as `a 2 allocated`."""
    return [[described(block) for block in group] for group in found.groups]


def described(block: Block) -> str:
    run, reserved = block.run, block.reservation
    name = run.deployment.name if run else reserved.name if reserved else ""
    return f"{name} {block.width} {block.kind}".strip()


def test_the_gpus_of_runs_are_counted_in_the_order_of_their_placement() -> None:
    first, second = run("first", 2), run("second", 1)

    found = gpus_of(4, [], [second, first], None)

    assert drawn(found) == [["first 2 allocated", "second 1 allocated", "1 free"]]


def test_a_run_that_needs_several_groups_is_a_block_in_each() -> None:
    found = gpus_of(16, [], [run("small", 2), run("large", 8)], None)

    assert drawn(found) == [
        ["small 2 allocated", "large 2 allocated"],
        ["large 4 allocated"],
        ["large 2 allocated", "2 free"],
        ["4 free"],
    ]


def test_a_run_is_on_the_gpus_that_it_was_assigned() -> None:
    ids = ["0", "1", "2", "3"]
    runs = [run("uncounted", 1), run("known", 2, devices=["0", "3"])]

    found = gpus_of(4, ids, runs, None)

    assert drawn(found) == [
        ["known 1 allocated", "uncounted 1 allocated", "1 free", "known 1 allocated"]
    ]
    assert [block.short_ids for block in found.groups[0]] == ["GPU 0", "GPU 1", "GPU 2", "GPU 3"]


def test_a_long_id_is_shortened_on_the_page_but_not_in_the_description() -> None:
    ids = ["GPU-8f2c1a77-1", "GPU-8f2c1a77-2"]

    ((block,),) = gpus_of(2, ids, [run("a", 2, devices=ids)], None).groups

    assert block.short_ids == "GPU GPU-8f2c…, GPU-8f2c…"
    assert gpus(block) == "a, priority 50, allocated: GPU GPU-8f2c1a77-1, GPU-8f2c1a77-2"


def test_ids_that_are_not_one_for_each_gpu_of_the_node_are_ignored() -> None:
    found = gpus_of(1, ["0", "1"], [run("a", 1, devices=["1"])], None)

    assert drawn(found) == [["a 1 allocated"]]
    assert found.groups[0][0].ids == []


def test_a_preemptor_has_the_gpus_on_which_its_victims_still_stop() -> None:
    runs = [stopping("victim", 2), run("bystander", 1), waiting("urgent", 2)]

    found = gpus_of(4, [], runs, None)

    texts = [gpus(block) for block in found.groups[0]]
    assert texts == [
        "urgent, priority 50, starting: 1 GPU. victim is still stopping there.",
        "victim, priority 50, stopping: 1 GPU",
        "bystander, priority 50, allocated: 1 GPU",
        "urgent, priority 50, starting: 1 GPU",
    ]


def test_a_reservation_has_what_is_free_at_most() -> None:
    found = gpus_of(4, [], [run("a", 3)], reservation("patient", 4))

    assert drawn(found) == [["a 3 allocated", "patient 1 reserved"]]
    assert gpus(found.groups[0][1]) == "Reserved for patient: 1 GPU"


def test_a_reservation_takes_unused_gpus_first() -> None:
    found = gpus_of(3, [], [stopping("old", 1)], reservation("patient", 2))

    assert drawn(found) == [["old 1 stopping", "patient 2 reserved"]]


def test_a_node_without_runs_is_free() -> None:
    found = gpus_of(1, [], [run("cpu only", 0)], None)

    assert drawn(found) == [["1 free"]]
    assert gpus(found.groups[0][0]) == "Free: 1 GPU"


def test_gpus_beyond_the_capacity_are_drawn_and_counted() -> None:
    found = gpus_of(2, [], [run("a", 2), run("b", 1)], None)

    assert drawn(found) == [["a 2 allocated", "b 1 allocated"]]
    assert found.beyond == 1


def test_a_node_with_very_many_gpus_is_not_drawn() -> None:
    assert gpus_of(10**6, [], [run("a", 10**5)], None) == Gpus([], 0)
