"""The exact optimum of a snapshot, by constraint programming: slow, for benchmarks only.

The optimum is lexicographic: as many active deployments as possible of the highest level, then of
the next, and so on, then the fewest evictions and moves. Rules 1 to 3 hold, and what rule 9 demands
for deployments that take turns (`reference_turns`). The model has a number for all equal
deployments together. It needs `ortools`, a development dependency.
"""

from collections import Counter
from typing import NamedTuple

from ortools.sat.python import cp_model

from benchmarks.reference_turns import Turns
from benchmarks.references import Optimum
from benchmarks.rules import Result
from scheduling.planner.plan import Plan
from scheduling.planner.requirements import Requirement
from scheduling.planner.resources import DIMENSIONS, Resources
from scheduling.planner.snapshot import ClusterState, Deployment, Place, Snapshot


class Kind(NamedTuple):
    """Deployments that are equal for the model.

    `home` is the place of active ones. If any deployment takes turns, its `id` makes it a kind of
    its own, and kinds differ in `max_runtime_s`, and active ones in `ends`, the time at which they
    end at the latest.
    """

    priority: int
    request: Resources
    pinned: int | None
    require: tuple[Requirement, ...]
    home: Place | None
    max_runtime_s: int | None = None
    ends: int | None = None
    id: int | None = None


def optimum(
    snapshot: Snapshot, work: float, *, hint: dict[int, Place | None] | None = None
) -> Optimum:
    """Solve the snapshot; all active deployments count as evictable, also once they are started.

    `work` limits each level, in the solver's deterministic seconds, which are the same on every
    machine and about as long as real ones. `hint` is the place of each deployment in a known good
    plan. Raises TimeoutError when no plan was found.
    """
    model = _Model(snapshot, hint or {})
    counts = {}
    proven = True
    for priority in model.priorities:
        counts[priority], exact = model.maximize(model.running[priority], work)
        model.add(model.running[priority] >= counts[priority])
        proven &= exact
    kept, exact = model.maximize(model.stay, work)
    active = sum(d.cluster is not None for d in snapshot.deployments)
    return Optimum(counts, active - kept, proven and exact)


class _Model:
    def __init__(self, snapshot: Snapshot, hint: dict[int, Place | None]) -> None:
        self._cp = cp_model.CpModel()
        self._now = snapshot.now
        self._bins = {bin_.place: bin_ for bin_ in snapshot.bins}
        self._turns = Result(snapshot, Plan()).taking_turns
        homes = snapshot.homes()
        kinds = {d.id: self._kind(d, homes.get(d.id)) for d in snapshot.deployments}
        self._kinds = Counter(kinds.values())
        self._hint = Counter((kind, hint.get(id_)) for id_, kind in kinds.items())
        self._on = {kind: self._places(kind) for kind in self._kinds}
        self.priorities = sorted({kind.priority for kind in self._kinds}, reverse=True)
        self.running = {
            p: sum(v for k, on in self._on.items() if k.priority == p for v in on.values())
            for p in self.priorities
        }
        self.stay = sum(on[k.home] for k, on in self._on.items() if k.home is not None)
        self._fit()
        for kind in self._kinds:
            if kind.home is not None:
                self._evict_only_when_needed(kind)
        if self._turns:
            Turns(self._cp, snapshot, self._turns, self._kinds, self._on).add()
            self._complete_hints()

    def add(self, constraint: cp_model.BoundedLinearExpression | bool) -> None:
        self._cp.add(constraint)

    def maximize(self, expression: cp_model.LinearExprT, work: float) -> tuple[int, bool]:
        """Return the largest value that was found, and whether it is proved to be the largest."""
        self._cp.maximize(expression)
        solver = cp_model.CpSolver()
        solver.parameters.max_deterministic_time = work
        solver.parameters.num_workers = 1
        status = solver.solve(self._cp)
        if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            raise TimeoutError("the reference found no plan in time")
        self._hint_at(solver)
        return int(solver.value(expression)), status == cp_model.OPTIMAL

    def _complete_hints(self) -> None:
        """Hint all variables of the known plan, so that each level has a solution at once."""
        solver = cp_model.CpSolver()
        solver.parameters.fix_variables_to_their_hinted_value = True
        solver.parameters.num_workers = 1
        if solver.solve(self._cp) in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            self._hint_at(solver)

    def _hint_at(self, solver: cp_model.CpSolver) -> None:
        self._cp.clear_hints()
        for index in range(len(self._cp.proto.variables)):
            variable = self._cp.get_int_var_from_proto_index(index)
            self._cp.add_hint(variable, solver.value(variable))

    def _kind(self, d: Deployment, home: Place | None) -> Kind:
        kind = Kind(d.priority, d.request, d.requested_cluster, d.require, home)
        if not self._turns:
            return kind
        id_ = d.id if d.id in self._turns else None
        ends = None
        if d.placed_at is not None and d.max_runtime_s is not None:
            ends = max(d.placed_at + d.max_runtime_s, self._now)
        return kind._replace(max_runtime_s=d.max_runtime_s, ends=ends, id=id_)

    def _places(self, kind: Kind) -> dict[Place, cp_model.IntVar]:
        """Return, by place, a variable for the number of this kind there after the plan."""
        places = {}
        for place, bin_ in self._bins.items():
            eligible = (
                bin_.state == ClusterState.ACTIVE
                and kind.pinned in (None, bin_.cluster.id)
                and all(requirement.holds(bin_.node.labels) for requirement in kind.require)
            )
            if place == kind.home or (eligible and kind.request.fits_in(bin_.capacity)):
                places[place] = self._cp.new_int_var(0, self._kinds[kind], "")
                self._cp.add_hint(places[place], self._hint[kind, place])
        self._cp.add(sum(places.values()) <= self._kinds[kind])
        return places

    def _fit(self) -> None:
        for place, bin_ in self._bins.items():
            for dimension in DIMENSIONS:
                allocated = sum(
                    getattr(k.request, dimension) * on[place]
                    for k, on in self._on.items()
                    if place in on
                )
                self._cp.add(allocated <= getattr(bin_.capacity, dimension))

    def _evict_only_when_needed(self, kind: Kind) -> None:
        """Require that all of the kind stay, or another one would not fit.

        That is, it would not fit next to higher priorities and those of its own that stay.
        """
        priority, home = kind.priority, kind.home
        assert home is not None  # noqa: S101 - the caller's condition
        next_to = [
            (k.request, on[home])
            for k, on in self._on.items()
            if home in on and (k.priority > priority or (k.priority == priority and k.home == home))
        ]
        short = []
        for dimension in DIMENSIONS:
            is_short = self._cp.new_bool_var("")
            allocated = sum(getattr(r, dimension) * n for r, n in next_to)
            capacity = getattr(self._bins[home].capacity, dimension)
            self._cp.add(allocated + getattr(kind.request, dimension) > capacity).only_enforce_if(
                is_short
            )
            short.append(is_short)
        all_stay = self._cp.new_bool_var("")
        self._cp.add(self._on[kind][home] == self._kinds[kind]).only_enforce_if(all_stay)
        self._cp.add_bool_or([*short, all_stay])
