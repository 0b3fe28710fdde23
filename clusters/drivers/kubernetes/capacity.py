"""What a Kubernetes cluster has for us: the room of its nodes, within the namespace's quota."""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from clusters.drivers.kubernetes.api import Json
from clusters.drivers.kubernetes.pods import GPU
from clusters.models import DIMENSIONS
from clusters.resources import describe

Room = dict[str, int]

_RESOURCES = {"cpu_milli": "cpu", "ram_mib": "memory", "gpu": GPU}
_UNIT = {"cpu_milli": Decimal("0.001"), "ram_mib": Decimal(1 << 20), "gpu": Decimal(1)}

_QUANTITY = re.compile(r"([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([A-Za-z]*)")
_SUFFIXES = {
    **{suffix: Decimal(1000) ** (n - 3) for n, suffix in enumerate(("n", "u", "m", "", *"kMGTPE"))},
    **{f"{suffix}i": Decimal(1024) ** n for n, suffix in enumerate("KMGTPE", start=1)},
}


def measure(
    nodes: Sequence[Json] | None, quotas: Sequence[Json] | None, claimed: Room
) -> tuple[Room, list[str]]:
    """Return the room, and what an operator should know of it.

    None are those that we may not list; what nobody tells is taken as it is claimed.
    """
    warnings: list[str] = []
    rooms = []
    if nodes is None:
        warnings.append(
            "The service account may not list nodes: whether a Pod finds one is not known before"
            " it starts. The ClusterRole in docs/operating.md grants it."
        )
    else:
        schedulable = [_room(n["status"]["allocatable"]) for n in nodes if _is_schedulable(n)]
        rooms.append({name: sum(room[name] for room in schedulable) for name in DIMENSIONS})
        warnings += _too_big(claimed, schedulable)
    rooms += [_limits(quota) for quota in quotas or ()]
    if not any(rooms):
        warnings.append("Neither nodes nor a quota tell its capacity: what is claimed is taken.")
    room = {
        name: min([r[name] for r in rooms if name in r] or [claimed[name]]) for name in DIMENSIONS
    }
    return room, warnings


def _is_schedulable(node: Mapping[str, Any]) -> bool:
    """Whether our Pods may be placed on it: it answers, is not cordoned, and has no taint but the
    one that keeps nodes with GPUs for those who ask for some."""
    spec, conditions = node["spec"], node["status"].get("conditions", ())
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
    barred = any(t["key"] != GPU and t["effect"] != "PreferNoSchedule"
                 for t in spec.get("taints", ()))  # fmt: skip
    return ready and not spec.get("unschedulable") and not barred


def _room(quantities: Mapping[str, str]) -> Room:
    return {name: _amount(name, quantities.get(key, "0")) for name, key in _RESOURCES.items()}


def _limits(quota: Mapping[str, Any]) -> Room:
    """Return the dimensions that the quota bounds; a scoped one bounds other Pods than ours."""
    if quota["spec"].get("scopes") or quota["spec"].get("scopeSelector"):
        return {}
    hard = quota["spec"].get("hard", {})
    keys = {name: (f"limits.{key}", f"requests.{key}", key) for name, key in _RESOURCES.items()}
    found = {name: [hard[key] for key in keys[name] if key in hard] for name in keys}
    return {name: min(_amount(name, q) for q in bounds) for name, bounds in found.items() if bounds}


def _amount(name: str, quantity: str) -> int:
    return int(parse_quantity(quantity) / _UNIT[name])


def parse_quantity(text: str) -> Decimal:
    """Read an amount as Kubernetes writes it: 1.5, 1e3, 250m or 64Mi. Raises ValueError."""
    found = _QUANTITY.fullmatch(text)
    if not found or found[2] not in _SUFFIXES:
        raise ValueError(f"{text!r} is no quantity of Kubernetes")
    return Decimal(found[1]) * _SUFFIXES[found[2]]


def _too_big(claimed: Room, nodes: Sequence[Room]) -> list[str]:
    largest = {name: max((room[name] for room in nodes), default=0) for name in DIMENSIONS}
    if all(claimed[name] <= largest[name] for name in DIMENSIONS):
        return []
    text = (
        f"A Pod runs on one node, and the largest node's amounts are {describe(**largest)}: what"
        " asks for more, or for what the nodes' free room is too scattered to give, waits for a"
        " node and fails after ten minutes."
    )
    return [text]
