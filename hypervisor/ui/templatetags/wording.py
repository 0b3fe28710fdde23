"""The wording of the pages of the queue, clusters and previews."""

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Protocol

from django import template
from django.utils import timezone
from django.utils.safestring import SafeString

from clusters.places import Places
from clusters.resources import ResourceColumns, cores
from deployments.models import Deployment
from deployments.runtime.models import Run
from hypervisor.ui.data import event_kinds
from hypervisor.ui.data.cluster_timeline import Bar, band_of
from hypervisor.ui.data.gpus import Block
from hypervisor.ui.templatetags.blocks import duration
from scheduling.insight.forecast import Start
from scheduling.insight.shortages import Shortage
from scheduling.planner.resources import Resources, in_words, quantity

register = template.Library()

_WORDS = {
    "no_free_capacity": "no free capacity",
    "reserved_for_other": "reserved for another deployment",
    "reserved": "capacity is reserved for it",
    "next_cycle": "starts next",
    "exceeds_capacity": "too large",
    "no_matching_node": "no node has the labels",
    "scattered": "free capacity is scattered",
    "no_cluster": "no cluster",
    "array_limit": "its array's limit",
    "requested_cluster_gone": "its cluster is gone",
    "cluster_cordoned": "cordoned",
    "cluster_draining": "draining",
    "cluster_lost": "no contact",
}


_FIRST = 3
"""Of how many clusters a line of a list says what is missing on them."""


class _Wait(Protocol):
    @property
    def code(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def shortages(self) -> Sequence[Shortage]: ...
    @property
    def clusters(self) -> int: ...


@register.filter
def codewords(code: str) -> str:
    """Return a wait reason's code in words."""
    return _WORDS.get(code, code.replace("_", " "))


@register.filter
def kind_label(kind: str) -> str:
    """Return the kind of an event as a label."""
    return event_kinds.label_of(kind)


@register.filter
def kinds_in_words(kinds: Collection[str]) -> str:
    """Return in short which kinds of events are meant; none of them means all."""
    return event_kinds.in_words(kinds)


_WHY = (
    '<details><summary><span class="o-code o-code-{}">{}</span> {}</summary><p>{}</p>{}</details>'
)


@register.filter
def why(wait: _Wait, address: str) -> SafeString:
    """Return why a deployment waits, in short, and in full once it is opened.

    `address` is that of its own page. A template would take ten times as long, and a page has
    hundreds of these.
    """
    code = escape(wait.code)
    full = _listed(wait, address)
    return SafeString(
        _WHY.format(code, escape(codewords(wait.code)), _summary(wait), escape(wait.reason), full)
    )


def _summary(wait: _Wait) -> str:
    """Return what is missing on the first clusters, and how many more there are."""
    markup, more = '<span class="o-shortage"><strong>{}</strong> {}</span>', wait.clusters - _FIRST
    rest = f' <span class="c-note">and {more} more</span>' if more > 0 else ""
    return _each(markup, wait.shortages[:_FIRST]) + rest


def _listed(wait: _Wait, address: str) -> str:
    """Return a list of what is missing, empty if the summary has all of it.

    It links to a page with all clusters if it has not all.
    """
    shown = len(wait.shortages)
    if shown <= _FIRST:
        return ""
    more = f'<li><a href="{escape(address)}">All {wait.clusters} clusters</a></li>'
    items = _each("<li><strong>{}</strong> {}</li>", wait.shortages)
    return f"<ul>{items}{more if wait.clusters > shown else ''}</ul>"


@register.filter
def starts(start: Start | None) -> SafeString:
    """Return a note about when a deployment will probably start, empty if that is not known."""
    about = start.about if start else ""
    return SafeString(f'<p class="c-note">Starts {escape(about)}</p>' if about else "")


def _each(markup: str, shortages: Iterable[Shortage]) -> str:
    return "".join([markup.format(escape(row.cluster), escape(row.text)) for row in shortages])


@register.filter
def request(row: ResourceColumns) -> str:
    """Return the requested resources in short, without GPU if none is requested."""
    parts = [
        in_words({"cpu_milli": row.cpu_milli}),
        quantity("ram_mib", row.ram_mib),
        *([in_words({"gpu": row.gpu})] if row.gpu else []),
    ]
    return " · ".join(part.replace(" ", "\N{NO-BREAK SPACE}") for part in parts)


@register.filter
def place(row: Deployment | Run, places: Places) -> str:
    """Return the name of the place where a row is."""
    return places.of(row)


@register.filter
def age(since: datetime) -> str:
    return duration(max((timezone.now() - since).total_seconds(), 0))


@register.filter
def utc(moment: datetime) -> str:
    """Return a time to the second, as the filter `date` does, which takes far longer."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


@register.filter
def until(moment: datetime) -> str:
    return duration(max((moment - timezone.now()).total_seconds(), 0))


@register.filter
def at(values: dict[int, object], key: int) -> object:
    """Return a dictionary's value for a variable key, or None."""
    return values.get(key)


@register.filter
def clock(seconds: float, span: str) -> str:
    """Format a moment for the timeline, with the day if the span has several days."""
    moment = datetime.fromtimestamp(seconds, UTC)
    if span == "table":
        return f"{moment:%m-%d %H:%M:%S}"
    return f"{moment:%a %H:%M}" if span == "7d" else f"{moment:%H:%M}"


@register.filter
def cpus(cluster: ResourceColumns) -> str:
    return str(cores(cluster.cpu_milli))


@register.filter
def ended(bar: Bar) -> str:
    """Return in words how a run ended."""
    stay = bar.stay
    if stay.released is None:
        return "still running"
    return f"{stay.outcome} for deployment {stay.preemptor}" if stay.preemptor else stay.outcome


@register.filter
def description(bar: Bar) -> str:
    """Describe a bar by its row of the table."""
    stay = bar.stay
    until = "now" if stay.released is None else clock(stay.released, "table")
    return (
        f"{stay.name}, priority {stay.priority}: {clock(stay.placed, 'table')} to {until},"
        f" {ended(bar)}"
    )


@register.filter
def between(begin: datetime, end: datetime) -> str:
    """Return the time from one moment to another."""
    return duration(max((end - begin).total_seconds(), 0))


@register.filter
def vector(amounts: Resources) -> str:
    """Return the amounts in words, without those that are zero."""
    return amounts.positive


@register.filter
def band(priority: int) -> str:
    """Return the third of the priorities, which decides the colour."""
    return band_of(priority)


@register.filter
def gpus(block: Block) -> str:
    """Return the full description of adjacent GPUs, whose cells may be too narrow for it."""
    amount = f"GPU {', '.join(block.ids)}" if block.ids else f"{block.width} GPU"
    if block.run:
        row = block.run.deployment
        text = f"{row.name}, priority {row.priority}, {block.kind}: {amount}"
    elif block.reservation:
        text = f"Reserved for {block.reservation.name}: {amount}"
    else:
        text = f"Free: {amount}"
    return f"{text}. {block.leaving.name} is still stopping there." if block.leaving else text
