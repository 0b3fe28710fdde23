"""The exact optimum of a snapshot, by constraint programming: slow, for benchmarks only.

The optimum is lexicographic: as many active deployments as possible of the highest level, then of
the next, and so on, then the fewest evictions and moves. Rules 1 to 3 hold. The model has a number
for all equal deployments together. It needs `ortools`, a development dependency.
"""

from collections import Counter

from ortools.sat.python import cp_model

from benchmarks.references import Optimum
from scheduling.planner.requirements import Requirement
from scheduling.planner.resources import DIMENSIONS, Resources
from scheduling.planner.snapshot import ClusterState, Deployment, Place, Snapshot

Kind = tuple[int, Resources, int | None, tuple[Requirement, ...], Place | None]


def optimum(
    snapshot: Snapshot, work: float, *, hint: dict[int, Place | None] | None = None
) -> Optimum:
    """Solve the snapshot; all active deployments count as evictable.

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
        self._bins = {bin_.place: bin_ for bin_ in snapshot.bins}
        homes = snapshot.homes()
        kinds = {d.id: _kind(d, homes.get(d.id)) for d in snapshot.deployments}
        self._kinds = Counter(kinds.values())
        self._hint = Counter((kind, hint.get(id_)) for id_, kind in kinds.items())
        self._on = {kind: self._places(kind) for kind in self._kinds}
        self.priorities = sorted({kind[0] for kind in self._kinds}, reverse=True)
        self.running = {
            p: sum(v for k, on in self._on.items() if k[0] == p for v in on.values())
            for p in self.priorities
        }
        self.stay = sum(on[k[4]] for k, on in self._on.items() if k[4] is not None)
        self._fit()
        for kind in self._kinds:
            if kind[4] is not None:
                self._evict_only_when_needed(kind)

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
        self._cp.clear_hints()
        for on in self._on.values():
            for variable in on.values():
                self._cp.add_hint(variable, solver.value(variable))
        return int(solver.value(expression)), status == cp_model.OPTIMAL

    def _places(self, kind: Kind) -> dict[Place, cp_model.IntVar]:
        """Return, by place, a variable for the number of this kind there after the plan."""
        _, request, pinned, require, home = kind
        places = {}
        for place, bin_ in self._bins.items():
            eligible = (
                bin_.state == ClusterState.ACTIVE
                and pinned in (None, bin_.cluster.id)
                and all(requirement.holds(bin_.node.labels) for requirement in require)
            )
            if place == home or (eligible and request.fits_in(bin_.capacity)):
                places[place] = self._cp.new_int_var(0, self._kinds[kind], "")
                self._cp.add_hint(places[place], self._hint[kind, place])
        self._cp.add(sum(places.values()) <= self._kinds[kind])
        return places

    def _fit(self) -> None:
        for place, bin_ in self._bins.items():
            for dimension in DIMENSIONS:
                allocated = sum(
                    getattr(k[1], dimension) * on[place]
                    for k, on in self._on.items()
                    if place in on
                )
                self._cp.add(allocated <= getattr(bin_.capacity, dimension))

    def _evict_only_when_needed(self, kind: Kind) -> None:
        """Require that all of the kind stay, or another one would not fit.

        That is, it would not fit next to higher priorities and those of its own that stay.
        """
        priority, request, _, _, home = kind
        assert home is not None  # noqa: S101 - the caller's condition
        next_to = [
            (k[1], on[home])
            for k, on in self._on.items()
            if home in on and (k[0] > priority or (k[0] == priority and k[4] == home))
        ]
        short = []
        for dimension in DIMENSIONS:
            is_short = self._cp.new_bool_var("")
            allocated = sum(getattr(r, dimension) * n for r, n in next_to)
            capacity = getattr(self._bins[home].capacity, dimension)
            self._cp.add(allocated + getattr(request, dimension) > capacity).only_enforce_if(
                is_short
            )
            short.append(is_short)
        all_stay = self._cp.new_bool_var("")
        self._cp.add(self._on[kind][home] == self._kinds[kind]).only_enforce_if(all_stay)
        self._cp.add_bool_or([*short, all_stay])


def _kind(d: Deployment, home: Place | None) -> Kind:
    return d.priority, d.request, d.requested_cluster, d.require, home
