"""The three resources of a cluster or a node as bars."""

from clusters.capacity import NOTHING, Capacity
from clusters.models import DIMENSIONS
from clusters.resources import cores
from hypervisor.ui.charts import Bar
from hypervisor.ui.templatetags.blocks import number

_LOOKS = {"cpu_milli": ("CPU", "cores"), "ram_mib": ("RAM", "GiB"), "gpu": ("GPU", "")}


def bars(capacity: Capacity, allocated: Capacity, reserved: Capacity = NOTHING) -> list[Bar]:
    """Return a bar for each resource; of what is reserved, only the free part counts."""
    return [
        bar(name, *(getattr(amounts, name) for amounts in (allocated, capacity, reserved)))
        for name in DIMENSIONS
    ]


def bar(name: str, allocated: int, capacity: int, wanted: int = 0) -> Bar:
    """Return the bar of one dimension, in millicores, MiB or devices."""
    label, unit = _LOOKS[name]
    free = max(capacity - allocated, 0)
    reserved = min(wanted, free)
    texts = [_text(label, amount) for amount in (allocated, reserved, free - reserved, capacity)]
    return Bar(label, allocated, reserved, capacity, (texts[0], texts[1], texts[2], texts[3]), unit)


def _text(label: str, amount: int) -> str:
    if label == "CPU":
        return number(float(cores(amount)))
    return number(amount / 1024 if label == "RAM" else amount)
