"""What rule 9 demands of the exact optimum, as constraints.

Every literal implies its meaning, and none is implied by it: the solver claims what helps. Where
the rule names one node for a reservation, the model may choose any, so its optimum is an upper
bound.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING

from ortools.sat.python import cp_model

from scheduling.planner.policy import Backfill
from scheduling.planner.resources import DIMENSIONS, Resources
from scheduling.planner.snapshot import Place, Snapshot

if TYPE_CHECKING:
    from benchmarks.reference import Kind

Places = Mapping["Kind", Mapping[Place, cp_model.IntVar]]
Terms = Iterable[tuple[Resources, cp_model.IntVar]]


class Turns:
    """The constraints for the deployments that take turns.

    `turns` maps each of them to whether its turn is now, `on` has the number of each kind by
    node after the plan, and `kinds` the number of each kind in total.
    """

    def __init__(
        self,
        model: cp_model.CpModel,
        snapshot: Snapshot,
        turns: Mapping[int, bool],
        kinds: Mapping["Kind", int],
        on: Places,
    ) -> None:
        self._model, self._on, self._kinds, self._turns = model, on, kinds, turns
        self._now = snapshot.now
        self._lower_may_backfill = snapshot.policy.backfill == Backfill.EVICTABLE
        self._capacity = {bin_.place: bin_.capacity for bin_ in snapshot.bins}
        since = {d.id: (d.waits_since, d.id) for d in snapshot.deployments if d.id in turns}
        takers = [k for k in kinds if k.id is not None]
        self._takers = sorted(takers, key=lambda k: (-k.priority, since[k.id or 0]))
        self._had_reservation = {d.id for d in snapshot.deployments if d.reserved}
        self._waited = {k: snapshot.now - since[k.id or 0][0] for k in takers}
        self._reserved = {(t, c): model.new_bool_var("") for t in self._takers for c in on[t]}
        # Many constraints need the same literal.
        self.spare, self.none = cache(self._spare), cache(self._none)
        self.short, self.late = cache(self._short), cache(self._late)
        self.all_run = cache(self._all_run)

    def add(self) -> None:
        for c in self._capacity:
            here = [literal for (_, at), literal in self._reserved.items() if at == c]
            self._model.add_at_most_one(here)
        for t in self._takers:
            self._only_if_it_fits_nowhere(t)
            if self._has_precedence(t):
                self._goes_first(t)
            (self._reserves if self._turns[t.id or 0] else self._may_be_soon)(t)
            for c in self._on[t]:
                self._is_respected(t, c)

    def _only_if_it_fits_nowhere(self, t: "Kind") -> None:
        """Allow a reservation for t, on one node, only if t neither runs nor fits."""
        holds = sum(self._reserved[t, c] for c in self._on[t])
        self._model.add(sum(self._on[t].values()) + holds <= 1)
        for c in self._on[t]:
            wanted = [self.short(t, c), *self._others(t, c)]
            self._model.add(holds == 0).only_enforce_if([each.negated() for each in wanted])

    def _has_precedence(self, t: "Kind") -> bool:
        return self._turns[t.id or 0] or t.id in self._had_reservation

    def _goes_first(self, t: "Kind") -> None:
        """Require that t runs if it fits."""
        runs = self._runs(t)
        for c in self._on[t]:
            self._model.add_bool_or([runs, self.short(t, c), *self._others(t, c)])

    def _reserves(self, t: "Kind") -> None:
        """Require a reservation for t if it does not run."""
        runs, own = self._runs(t), [self._reserved[t, c] for c in self._on[t]]
        for c in self._on[t]:
            self._model.add_bool_or([runs, *own, *self._others(t, c)])

    def _may_be_soon(self, t: "Kind") -> None:
        """Require a reservation for t if it fits nowhere, but will somewhere after no longer than
        it has waited.
        """
        runs, limit = self._runs(t), self._now + self._waited[t]
        fits = [self._fits(self._before(t, c), t.request, c) for c in self._on[t]]
        own = [self._reserved[t, c] for c in self._on[t]]
        for c in self._on[t]:
            unfinished = self._before(t, c, limit)
            self._model.add_implication(self._reserved[t, c], self._fits(unfinished, t.request, c))
            later = self._is_short(unfinished, t.request, c)
            self._model.add_bool_or([runs, *own, later, *fits, *self._others(t, c)])

    def _is_respected(self, t: "Kind", c: Place) -> None:
        """Require that a reservation for t on c is respected by t's level and the lower ones."""
        reserved, refused = self._reserved[t, c], self._model.new_bool_var("")
        for k, on in self._on.items():
            if c not in on or k.priority > t.priority or k == t:
                continue
            in_time = []
            if k.max_runtime_s is not None:
                in_time.append(self.late(t, c, k.max_runtime_s))
            allowed = [reserved.negated(), *in_time]
            if k.priority == t.priority:
                runs, too_large = self.all_run(k), self._beside_level(k, c)
                self._model.add_bool_or([*allowed, runs, too_large, refused])
            elif self._lower_may_backfill:
                allowed.append(refused.negated())
            if k.home != c:
                names = [name for name in DIMENSIONS if getattr(k.request, name)]
                spare = self._all([self.spare(k.priority, t, c, name) for name in names])
                self._model.add_bool_or([*allowed, self.none(k, c), spare])

    def _others(self, t: "Kind", c: Place) -> list[cp_model.IntVar]:
        """Return whether c is reserved for others of t's level or above."""
        return [
            literal
            for (other, at), literal in self._reserved.items()
            if at == c and other != t and other.priority >= t.priority
        ]

    def _before(
        self, t: "Kind", c: Place, until: int | None = None
    ) -> list[tuple[Resources, cp_model.IntVar]]:
        """Return what t has to fit beside on c; with `until`, only what has not ended by then."""
        terms = []
        for k, on in self._on.items():
            stays = k.home == c
            first = k in self._takers[: self._takers.index(t)] and self._has_precedence(k)
            if c in on and (
                k.priority > t.priority or (k.priority == t.priority and (stays or first))
            ):
                ends = k.ends
                if not stays and k.max_runtime_s is not None:
                    ends = self._now + k.max_runtime_s
                if until is None or ends is None or ends > until:
                    terms.append((k.request, on[c]))
        return terms

    def _runs(self, t: "Kind") -> cp_model.IntVar:
        runs = self._model.new_bool_var("")
        self._model.add(sum(self._on[t].values()) == 1).only_enforce_if(runs)
        return runs

    def _short(self, t: "Kind", c: Place) -> cp_model.IntVar:
        return self._is_short(self._before(t, c), t.request, c)

    def _late(self, t: "Kind", c: Place, seconds: int) -> cp_model.IntVar:
        """Claim that t will fit on c at a known time, which is so many seconds away or more."""
        known = self._fits(self._before(t, c, 1 << 62), t.request, c)
        just_before = self._now + seconds - 1
        return self._all([known, self._is_short(self._before(t, c, just_before), t.request, c)])

    def _beside_level(self, k: "Kind", c: Place) -> cp_model.IntVar:
        """Claim that another k does not fit on c beside its level and the higher ones."""
        on = self._on.items()
        terms = [(o.request, n[c]) for o, n in on if c in n and o.priority >= k.priority]
        return self._is_short(terms, k.request, c)

    def _spare(self, priority: int, t: "Kind", c: Place, name: str) -> cp_model.IntVar | None:
        """Claim that all that the level starts on c leaves what t needs; None if t needs nothing.

        Starts of this level that may end in time do not count.
        """
        needed = getattr(t.request, name)
        if not needed:
            return None
        terms = [
            (k.request, on[c])
            for k, on in self._on.items()
            if c in on
            and (
                k.priority > priority
                or (k.priority == priority and (k.home == c or k.max_runtime_s is None))
            )
        ]
        spare = self._model.new_bool_var("")
        allocated = sum(getattr(request, name) * number for request, number in terms)
        self._model.add(allocated + needed <= getattr(self._capacity[c], name)).only_enforce_if(
            spare
        )
        return spare

    def _none(self, k: "Kind", c: Place) -> cp_model.IntVar:
        none = self._model.new_bool_var("")
        self._model.add(self._on[k][c] == 0).only_enforce_if(none)
        return none

    def _all_run(self, k: "Kind") -> cp_model.IntVar:
        all_run = self._model.new_bool_var("")
        self._model.add(sum(self._on[k].values()) == self._kinds[k]).only_enforce_if(all_run)
        return all_run

    def _fits(self, terms: Terms, request: Resources, c: Place) -> cp_model.IntVar:
        fits = self._model.new_bool_var("")
        for name in DIMENSIONS:
            allocated = sum(getattr(each, name) * number for each, number in terms)
            self._model.add(
                allocated + getattr(request, name) <= getattr(self._capacity[c], name)
            ).only_enforce_if(fits)
        return fits

    def _is_short(self, terms: Terms, request: Resources, c: Place) -> cp_model.IntVar:
        short = []
        for name in DIMENSIONS:
            literal = self._model.new_bool_var("")
            allocated = sum(getattr(each, name) * number for each, number in terms)
            self._model.add(
                allocated + getattr(request, name) > getattr(self._capacity[c], name)
            ).only_enforce_if(literal)
            short.append(literal)
        any_short = self._model.new_bool_var("")
        self._model.add_bool_or([any_short.negated(), *short])
        return any_short

    def _all(self, literals: Iterable[cp_model.IntVar | None]) -> cp_model.IntVar:
        every = self._model.new_bool_var("")
        for literal in literals:
            if literal is not None:
                self._model.add_implication(every, literal)
        return every
