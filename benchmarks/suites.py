"""The policies that the bench `over_time` compares, by suite."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.workload import DAY
from scheduling.planner.pipeline import make_plan
from scheduling.planner.policy import Backfill, Order, Policy
from scheduling.simulation.baselines import FIXED, POLICIES
from scheduling.simulation.engine import Decide, Terms

_EVER = 10**9
_CHECKPOINT = 600


@dataclass(frozen=True, slots=True)
class Setting:
    """A name, the planner that decides, and its terms."""

    name: str
    decide: Decide
    terms: Terms


def rivals() -> Iterator[Setting]:
    """Yield the planner with its defaults, the usual policies, and what more knowledge gives."""
    bare = Terms(Policy(backoff_seconds=0))
    doubling = Terms(Policy(longest_backoff_seconds=DAY, budget_window_seconds=_EVER))
    yield Setting("defaults", make_plan, Terms())
    yield Setting("kube", POLICIES["kube"], bare)
    yield Setting("kube3", POLICIES["kube3"], Terms(bare.policy.with_values(FIXED["kube3"])))
    yield Setting("kube-doubling", POLICIES["kube"], doubling)
    yield Setting("strict", POLICIES["strict"], bare)
    yield _ours("no-reservations", starvation_seconds=_EVER)
    yield Setting("runtimes-known", make_plan, Terms(runtimes_known=True))
    yield Setting("checkpoints", make_plan, Terms(checkpoint_every=_CHECKPOINT))
    yield Setting("kube-checkpoints", POLICIES["kube"], replace(bare, checkpoint_every=_CHECKPOINT))


def thresholds() -> Iterator[Setting]:
    """Yield the planner with its defaults, and with one threshold changed."""
    yield Setting("defaults", make_plan, Terms())
    for budget in (1, 5, 10):
        yield _ours(f"budget-{budget}", preemption_budget=budget)
    yield _ours("gap-50", budget_override_gap=50)
    yield _ours("no-gap", budget_override_gap=100)
    for seconds in (300, 1800):
        yield _ours(f"min-run-{seconds}", min_run_seconds=seconds)
    yield _ours("no-back-off", backoff_seconds=0)
    yield _ours("back-off-600", backoff_seconds=600)
    for seconds in (3600, DAY):
        yield _ours(f"starvation-{seconds}", starvation_seconds=seconds)
    for percent in (0, 5, 20, 100):
        yield _ours(f"reservation-{percent}", reservation_percent=percent)
    yield _ours("backfill-ending", backfill=Backfill.ENDING.value)
    yield _ours("fifo", order=Order.FIFO.value)


SUITES: Mapping[str, Callable[[], Iterator[Setting]]] = {
    "rivals": rivals,
    "thresholds": thresholds,
}


def _ours(name: str, **values: Any) -> Setting:
    return Setting(name, make_plan, Terms(Policy(**values)))
