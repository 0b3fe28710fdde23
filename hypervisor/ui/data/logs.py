"""The output of a deployment's runs as text, for its page and the page of its logs."""

import re
from dataclasses import dataclass, field

from django.http import QueryDict

from deployments.logs import store
from deployments.models import Deployment
from deployments.runtime.models import Run
from hypervisor.base.errors import DomainError
from hypervisor.base.numbers import whole

TAILS = (200, 1000, 5000)
_RUNS_OFFERED = 20
_SHOWN_BYTES = 512 * 1024
_LAST_LINES = 15
_BY_ITSELF = (Run.Outcome.COMPLETED, Run.Outcome.FAILED)
# Colours and cursor movements are meant for a terminal.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Output:
    """The last `tail` lines of a run, or the `trouble` why they cannot be read.

    `runs` are the latest runs that have output, the newest first, and `tails` the numbers of lines
    that are offered.
    """

    run: Run | None
    text: str
    trouble: str
    tail: int
    runs: list[Run]
    tails: tuple[int, ...] = field(default=TAILS)

    @property
    def may_grow(self) -> bool:
        return self.run is None or self.run.ended_at is None


def output_of(deployment: Deployment, query: QueryDict) -> Output:
    """Return what the query wants to see: `run` is the id of a run, `tail` the number of lines."""
    wanted, asked = whole(query.get("run", "")), whole(query.get("tail", ""))
    tail = asked if asked in TAILS else TAILS[0]
    runs = deployment.runs.select_related("cluster").order_by("-pk")
    offered = list(runs.launched()[:_RUNS_OFFERED])
    if not offered and wanted is None and deployment.status in store.TO_COME:
        return Output(None, "", "", tail, [])
    run, text, trouble = None, "", ""
    try:
        run = store.run_of(deployment, wanted)
        text = as_text(store.read(run, tail=tail))
    except DomainError as error:
        trouble = error.detail
    return Output(run, text, trouble, tail, offered)


def as_text(raw: bytes) -> str:
    """Return the end of the output, without terminal control sequences."""
    raw = raw[-_SHOWN_BYTES:]
    text = _ESCAPES.sub("", raw.decode(errors="replace")).replace("\r\n", "\n")
    return _CONTROLS.sub("", text.replace("\r", "\n"))


def last_output(runs: list[Run]) -> str:
    """Return the end of the last run's stored output, if the run has ended by itself."""
    last = next((run for run in reversed(runs) if run.launched_at), None)
    if last is None or last.ended_at is None or last.outcome not in _BY_ITSELF:
        return ""
    return as_text(store.read(last, tail=_LAST_LINES))
