"""How the pages of queue, cluster and forecast say things."""

from datetime import datetime

from django import template
from django.utils import timezone

from accounts.templatetags.console import duration
from clusters.resources import ResourceColumns, describe

register = template.Library()

_WORDS = {
    "no_room": "no room",
    "held_for_reservation": "room is held for another",
    "reserved": "room is held for it",
    "next_cycle": "starts next",
    "exceeds_capacity": "too large",
    "no_cluster": "no cluster",
    "requested_cluster_gone": "its cluster is gone",
    "cluster_cordoned": "cordoned",
    "cluster_draining": "draining",
}


@register.filter
def codewords(code: str) -> str:
    """Return a reason's code in words."""
    return _WORDS.get(code, code.replace("_", " "))


@register.filter
def request(row: ResourceColumns) -> str:
    """Return what it asks for, without what it does not."""
    text = describe(row.cpu_milli, row.ram_mib, row.gpu)
    return text.removesuffix(", 0 GPU")


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
