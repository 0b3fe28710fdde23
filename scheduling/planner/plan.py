"""The planner's output. Each decision has a code for programs and a reason for people."""

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from operator import attrgetter
from typing import Any, NamedTuple, Protocol, overload

from scheduling.planner.queue_order import Served
from scheduling.planner.shortlist import Group
from scheduling.planner.snapshot import Deployment
from scheduling.planner.turns import Turn

_DECISIVE = attrgetter(
    "priority", "request", "requested_cluster", "require", "prefer", "max_runtime_s",
    "suspended_until", "preemptible", "recent_preemptions",
)  # fmt: skip
"""The fields of a deployment on which the code of its wait reason depends, unless capacity is
reserved for it or the plan suspends preemption for it."""

_MOVE = {
    "source": "from", "node": "from_node", "target": "to", "target_node": "to_node", "for_": "for",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Placement:
    """A ready deployment starts on a node of a cluster."""

    deployment: int
    cluster: int
    node: int
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Eviction:
    """An active deployment loses its place and goes back to the queue.

    `for_` is the preemptor, None when the node drains. `proved_minimal`: an exhaustive search found
    no smaller harm for the same preemptors.
    """

    deployment: int
    cluster: int
    node: int
    for_: int | None
    proved_minimal: bool
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Move:
    """An active deployment loses its place and starts on another node at once.

    It moves from `node` of the cluster `source` to `target_node` of the cluster `target`, which may
    be the same cluster. `for_` is the preemptor, None when the node drains.
    """

    deployment: int
    source: int
    node: int
    target: int
    target_node: int
    for_: int | None
    code: str
    reason: str


class Clusters(NamedTuple):
    """The first rows of `detail["clusters"]`, and how many there are.

    The rows have no sentences: only `cluster`, `code`, `missing`, and, if it is scattered, `free`
    and `largest`. The clusters that are open and large enough come first, then the others, in the
    order of their ids, without those that are not the requested cluster.
    """

    first: Sequence[dict[str, Any]] = ()
    number: int = 0


class Explanation(Protocol):
    """Why a deployment waits: see `WaitReason`. A plan computes a part of it when it is read."""

    @property
    def code(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def both(self) -> tuple[str, str]: ...
    @property
    def move(self) -> Mapping[str, int]: ...
    @property
    def detail(self) -> Mapping[str, Any]: ...
    def clusters(self, number: int) -> "Clusters": ...


SCATTERED = "scattered"
"""The code of a deployment for which enough is free on a cluster, but on no node of it."""

SUSPENDED = "preemption_suspended"
"""The code of a deployment for which preemption is suspended."""

BEYOND_BASIS = frozenset({SCATTERED, SUSPENDED})
"""The codes of reasons that depend on more than `WaitReasons.basis`: on moves, or on the time."""


@dataclass(frozen=True, slots=True)
class Stated:
    """An explanation of which everything is known."""

    code: str
    reason: str
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def both(self) -> tuple[str, str]:
        return self.code, self.reason

    @property
    def move(self) -> Mapping[str, int]:
        move: Mapping[str, int] = self.detail.get("move", {})
        return move

    def clusters(self, number: int) -> Clusters:
        rows = self.detail.get("clusters", ())
        return Clusters(rows[:number], len(rows))


@dataclass(frozen=True, slots=True)
class WaitReason:
    """A ready deployment stays pending.

    `detail["clusters"]` has a row for each cluster, with the reason why the deployment cannot run
    there and what is missing: `{"cluster": 1, "name": "forge", "code": "no_free_capacity", "why":
    "2 GPU is free for this deployment, 2 GPU is missing", "missing": {"gpu": 2}}`, CPU in
    millicores, RAM in MiB. `detail["move"]` is the move that the reason proposes, if there is one.
    """

    deployment: int
    explanation: Explanation

    @property
    def code(self) -> str:
        return self.explanation.code

    @property
    def reason(self) -> str:
        return self.explanation.reason

    @property
    def both(self) -> tuple[str, str]:
        """The code and the reason, which cost together what one of them costs."""
        return self.explanation.both

    @property
    def move(self) -> Mapping[str, int]:
        """The move that the reason proposes, as in the detail; empty if there is none."""
        return self.explanation.move

    @property
    def detail(self) -> Mapping[str, Any]:
        return self.explanation.detail

    def clusters(self, number: int) -> Clusters:
        """Return up to so many rows of `detail["clusters"]` without their sentences, which costs
        far less than to read all.
        """
        return self.explanation.clusters(number)


class WaitReasons(Sequence[WaitReason]):
    """The wait reasons of deployments, by id in order; each is made when first read.

    Most readers need few of them, and with thousands that wait, the reasons cost more than the
    decisions; so `find` returns the deployments that wait only when all are needed, and `find_one`
    one of them by its id, or None. `reserved` are those for which capacity is reserved.
    """

    def __init__(
        self,
        number: int,
        find: Callable[[], list[Deployment]],
        find_one: Callable[[int], Deployment | None],
        make: Callable[[Deployment], WaitReason],
        basis: Callable[[int], Hashable | None],
        reserved: Collection[Deployment] = (),
        common_code: Callable[[Group], str | None] = lambda _: None,
    ) -> None:
        self._number = number
        self._find = find
        self._find_one = find_one
        self._make = make
        self._basis = basis
        self._made: dict[int, WaitReason] = {}
        self._codes: dict[Any, str] = {}
        self._reserved = reserved
        self._common_code = common_code
        self._of_groups: dict[Group, str | Mapping[int, str]] = {}

    @cached_property
    def deployments(self) -> list[Deployment]:
        return self._find()

    @property
    def reserved(self) -> list[WaitReason]:
        found = [self.of(d.id) for d in sorted(self._reserved, key=attrgetter("id"))]
        return [wait for wait in found if wait is not None]

    def of(self, deployment: int) -> WaitReason | None:
        """Return why the deployment stays pending, None if it does not."""
        found = self._find_one(deployment)
        return None if found is None else self._reason(found)

    def basis(self, priority: int) -> Hashable | None:
        """Return what the reasons at a priority depend on, apart from the deployments themselves.

        If it is equal in two plans, a deployment that is the same has the same code and reason in
        both, unless one of the codes is in BEYOND_BASIS. None if that is not certain.
        """
        return self._basis(priority)

    def code_of(self, deployment: Deployment, *, is_alone: bool) -> str:
        """Return the code for a deployment that waits. Unless it `is_alone`, its fields decide.

        The codes of all cost little where many deployments are alike.
        """
        if is_alone:
            return self._reason(deployment).code
        fields = _DECISIVE(deployment)
        code = self._codes.get(fields)
        if code is None:
            code = self._codes[fields] = self._reason(deployment).code
        return code

    def codes_of(self, group: Group, alone: Collection[int]) -> str | Mapping[int, str]:
        """Return the code of all members of a group that wait, or that of each, by id.

        Members that are `alone` have none here.
        """
        known = self._of_groups.get(group)
        if known is None:
            known = self._common_code(group)
            if known is None:
                rows = [d for d in group.members if d.id not in alone]
                known = {d.id: self.code_of(d, is_alone=False) for d in rows}
            self._of_groups[group] = known
        return known

    def __len__(self) -> int:
        return self._number

    @overload
    def __getitem__(self, position: int) -> WaitReason: ...
    @overload
    def __getitem__(self, position: slice) -> list[WaitReason]: ...
    def __getitem__(self, position: int | slice) -> WaitReason | list[WaitReason]:
        if isinstance(position, slice):
            return [self._reason(each) for each in self.deployments[position]]
        return self._reason(self.deployments[position])

    def _reason(self, deployment: Deployment) -> WaitReason:
        made = self._made.get(deployment.id)
        if made is None:
            made = self._made[deployment.id] = self._make(deployment)
        return made

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True, slots=True)
class Suspension:
    """No deployment is preempted for this ready deployment until a time, nor by this plan.

    `until` is in seconds since the epoch.
    """

    deployment: int
    until: int
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Each part is sorted by the deployment's id, except `served`, which has the ready deployments
    in the order in which the plan considers them. `turns` are as they were before the plan.
    """

    placements: tuple[Placement, ...] = field(default=())
    evictions: tuple[Eviction, ...] = field(default=())
    moves: tuple[Move, ...] = field(default=())
    wait_reasons: Sequence[WaitReason] = field(default=())
    turns: tuple[Turn, ...] = field(default=())
    suspensions: tuple[Suspension, ...] = field(default=())
    served: Served = field(default_factory=Served, compare=False, repr=False)

    @property
    def changes_nothing(self) -> bool:
        return not (self.placements or self.evictions or self.moves or self.suspensions)

    @property
    def reserved(self) -> list[WaitReason]:
        """The wait reasons of the deployments for which the plan reserves capacity."""
        if isinstance(self.wait_reasons, WaitReasons):
            return self.wait_reasons.reserved
        return [wait for wait in self.wait_reasons if wait.code == "reserved"]

    def wait_reason(self, deployment: int) -> WaitReason | None:
        """Return why the deployment stays pending, None if it does not."""
        if isinstance(self.wait_reasons, WaitReasons):
            return self.wait_reasons.of(deployment)
        return next((wait for wait in self.wait_reasons if wait.deployment == deployment), None)

    def codes_of(self, group: Group, alone: Collection[int]) -> str | Mapping[int, str]:
        """Return the code of all members of a group that wait, or that of each, by id.

        `alone` are those that start, and those with a reservation or a suspension. They have no
        code here.
        """
        waits = self.wait_reasons
        if isinstance(waits, WaitReasons):
            return waits.codes_of(group, alone)
        return {wait.deployment: wait.code for wait in waits}

    def wait_codes(self, deployments: Iterable[Deployment]) -> dict[int, str]:
        """Return the code of the wait reason of each of these deployments that stays pending."""
        starts = {placement.deployment for placement in self.placements}
        waiting = (d for d in deployments if d.cluster is None and d.id not in starts)
        waits = self.wait_reasons
        if not isinstance(waits, WaitReasons):
            codes = {wait.deployment: wait.code for wait in waits}
            return {d.id: codes[d.id] for d in waiting if d.id in codes}
        alone = {wait.deployment for wait in waits.reserved}
        alone.update(suspension.deployment for suspension in self.suspensions)
        return {d.id: waits.code_of(d, is_alone=d.id in alone) for d in waiting}

    def to_json(self) -> dict[str, Any]:
        return {
            "placements": [asdict(row) for row in self.placements],
            "evictions": [_renamed(row, for_="for") for row in self.evictions],
            "moves": [_renamed(row, **_MOVE) for row in self.moves],
            "wait_reasons": [_wait_reason(row) for row in self.wait_reasons],
            "turns": [asdict(row) for row in self.turns],
            "suspensions": [asdict(row) for row in self.suspensions],
        }


def _wait_reason(row: WaitReason) -> dict[str, Any]:
    return {
        "deployment": row.deployment,
        "code": row.code,
        "detail": dict(row.detail),
        "reason": row.reason,
    }


def _renamed(row: Eviction | Move, **names: str) -> dict[str, Any]:
    return {names.get(key, key): value for key, value in asdict(row).items()}
