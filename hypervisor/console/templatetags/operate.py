"""How the pages of queue, cluster and forecast say things."""

from datetime import UTC, datetime

from django import template
from django.utils import timezone

from clusters.resources import ResourceColumns, cores
from hypervisor.console.data.cluster_timeline import Bar
from hypervisor.console.templatetags.console import duration
from scheduling.planner.reasons.wait_reason import amount
from scheduling.planner.resources import Resources, in_words, quantity

register = template.Library()

_WORDS = {
    "no_free_capacity": "no free capacity",
    "reserved_for_other": "reserved for another",
    "reserved": "capacity is reserved for it",
    "next_cycle": "starts next",
    "exceeds_capacity": "too large",
    "no_cluster": "no cluster",
    "requested_cluster_gone": "its cluster is gone",
    "cluster_cordoned": "cordoned",
    "cluster_draining": "draining",
    "cluster_lost": "no contact",
}


@register.filter
def codewords(code: str) -> str:
    """Return a reason's code in words."""
    return _WORDS.get(code, code.replace("_", " "))


@register.filter
def request(row: ResourceColumns) -> str:
    """Return what it asks for in short, without a GPU where it asks for none."""
    parts = [
        in_words({"cpu_milli": row.cpu_milli}),
        quantity("ram_mib", row.ram_mib),
        *([in_words({"gpu": row.gpu})] if row.gpu else []),
    ]
    return " · ".join(part.replace(" ", "\N{NO-BREAK SPACE}") for part in parts)


@register.filter
def age(since: datetime) -> str:
    return duration(max((timezone.now() - since).total_seconds(), 0))


@register.filter
def until(moment: datetime) -> str:
    return duration(max((moment - timezone.now()).total_seconds(), 0))


@register.filter
def at(values: dict[int, object], key: int) -> object:
    """Return a dictionary's value for a key that is a variable, None without one."""
    return values.get(key)


@register.filter
def clock(seconds: float, span: str) -> str:
    """Return a moment as the timeline writes it: with the day where the span has several."""
    moment = datetime.fromtimestamp(seconds, UTC)
    if span == "table":
        return f"{moment:%m-%d %H:%M:%S}"
    return f"{moment:%a %H:%M}" if span == "7d" else f"{moment:%H:%M}"


@register.filter
def cpus(cluster: ResourceColumns) -> str:
    return str(cores(cluster.cpu_milli))


@register.filter
def ended(bar: Bar) -> str:
    """Say how a run ended."""
    stay = bar.stay
    if stay.released is None:
        return "still runs"
    return f"{stay.outcome} for deployment {stay.preemptor}" if stay.preemptor else stay.outcome


@register.filter
def told(bar: Bar) -> str:
    """Say of a bar what the table says of it."""
    stay = bar.stay
    until = "now" if stay.released is None else clock(stay.released, "table")
    return (
        f"{stay.name}, priority {stay.priority}: {clock(stay.placed, 'table')} to {until},"
        f" {ended(bar)}"
    )


@register.filter
def between(begin: datetime, end: datetime) -> str:
    """Return how long it is from one time to another."""
    return duration(max((end - begin).total_seconds(), 0))


@register.filter
def vector(amounts: Resources) -> str:
    """Return what is asked for in words, without what is not."""
    return amount(amounts)
