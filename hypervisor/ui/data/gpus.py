"""The GPUs of a node as cells: whose each of them is, what is reserved, and what is free.

Where the ids of an engine's GPUs are known, a cell is that GPU. Elsewhere the engine chooses GPUs
without saying which, and the cells are only counted, in the order of the placements.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from deployments.models import Deployment
from deployments.runtime.models import Run
from hypervisor.ui.data.cluster_data import Reservation

_MOST = 64
"""A node with more GPUs is not drawn."""

_GROUP = 4
"""The cells of a group stay side by side on every screen."""

_LONGEST_ID = 8


@dataclass(slots=True, eq=False)
class Cell:
    """One GPU: its id if that is known, and who has it.

    - owner: the active run that it is allocated to.
    - container: the run whose container may use it; after an eviction, that of the victim.
    - reservation: a reservation of free capacity, for a deployment that has waited too long.
    """

    device: str = ""
    owner: Run | None = None
    container: Run | None = None
    reservation: Reservation | None = None

    @property
    def kind(self) -> str:
        """Return `allocated`, `starting` (no container yet), `reserved`, `stopping` or `free`."""
        if self.owner:
            return "allocated" if self.owner is self.container else "starting"
        if self.reservation:
            return "reserved"
        return "stopping" if self.container else "free"


@dataclass(frozen=True, slots=True)
class Block:
    """Adjacent cells of a group that are alike."""

    cells: Sequence[Cell]

    @property
    def kind(self) -> str:
        return self.cells[0].kind

    @property
    def width(self) -> int:
        return len(self.cells)

    @property
    def run(self) -> Run | None:
        """Return the run that has these GPUs, or else the run whose container stops there."""
        return self.cells[0].owner or (None if self.reservation else self.cells[0].container)

    @property
    def reservation(self) -> Reservation | None:
        return self.cells[0].reservation

    @property
    def leaving(self) -> Deployment | None:
        """Return the deployment whose container has to stop before the GPUs can be used."""
        container = self.cells[0].container
        return container.deployment if container and self.kind in ("starting", "reserved") else None

    @property
    def ids(self) -> list[str]:
        return [cell.device for cell in self.cells if cell.device]

    @property
    def short_ids(self) -> str:
        """Return the ids, shortened, such as `GPU 0, 1`, or an empty text if they are not known."""
        cut = [f"{i[:_LONGEST_ID]}…" if len(i) > _LONGEST_ID else i for i in self.ids]
        return f"GPU {', '.join(cut)}" if cut else ""


@dataclass(frozen=True, slots=True)
class Gpus:
    """The GPUs of a node, in groups; `beyond` is how many more are allocated than it has.

    A node with too many GPUs has no groups.
    """

    groups: list[list[Block]]
    beyond: int


def gpus_of(
    count: int, ids: Sequence[str], runs: Iterable[Run], reservation: Reservation | None
) -> Gpus:
    """Return the GPUs of a node that has `count` of them.

    `ids` are those of the engine's GPUs, if it has just as many; `runs` are the unfinished runs on
    the node, with their deployments.
    """
    having = sorted((run for run in runs if run.gpu), key=lambda run: (run.placed_at, run.pk))
    allocated = sum(run.gpu for run in having if run.released_at is None)
    drawn = max(count, allocated)
    beyond = max(allocated - count, 0)
    if drawn > _MOST:
        return Gpus([], beyond)
    known = ids if len(ids) == count else ()
    cells = [Cell(device) for device in known] + [Cell() for _ in range(drawn - len(known))]
    _add_containers(cells, [run for run in having if run.launched_at])
    for run in having:
        if run.released_at is None and not run.launched_at:
            for cell in _without_owner(cells)[: run.gpu]:
                cell.owner = run
    if reservation:
        for cell in _without_owner(cells)[: reservation.amounts.gpu]:
            cell.reservation = reservation
    groups = [cells[start : start + _GROUP] for start in range(0, drawn, _GROUP)]
    return Gpus([_blocks(group) for group in groups], beyond)


def _add_containers(cells: list[Cell], launched: list[Run]) -> None:
    """Give each run its own GPUs as far as they are known, then the others in their order."""
    by_id = {cell.device: cell for cell in cells if cell.device}
    missing = {}
    for run in launched:
        own = [by_id[device] for device in run.devices if device in by_id]
        missing[run] = run.gpu - len(own)
        _use(own, run)
    for run, number in missing.items():
        _use([cell for cell in cells if not cell.container][:number], run)


def _use(cells: Iterable[Cell], run: Run) -> None:
    for cell in cells:
        cell.container = run
        cell.owner = None if run.released_at else run


def _without_owner(cells: list[Cell]) -> list[Cell]:
    """Return the cells that are free in the ledger, those without a container first."""
    return sorted((c for c in cells if not c.owner), key=lambda cell: cell.container is not None)


def _blocks(group: Sequence[Cell]) -> list[Block]:
    return [Block(tuple(cells)) for _, cells in groupby(group, key=_who)]


def _who(cell: Cell) -> tuple[object, ...]:
    return cell.kind, cell.owner, cell.container, cell.reservation
