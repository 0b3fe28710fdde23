"""The capacity of a Kubernetes cluster: that of its nodes, within the namespace's quota."""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from clusters.drivers.kubernetes.api import Json
from clusters.drivers.kubernetes.pods import GPU
from clusters.models import DIMENSIONS
from clusters.resources import describe

Amounts = dict[str, int]

_RESOURCES = {"cpu_milli": "cpu", "ram_mib": "memory", "gpu": GPU}
_UNIT = {"cpu_milli": Decimal("0.001"), "ram_mib": Decimal(1 << 20), "gpu": Decimal(1)}

_QUANTITY = re.compile(r"([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([A-Za-z]*)")
_SUFFIXES = {
    **{suffix: Decimal(1000) ** (n - 3) for n, suffix in enumerate(("n", "u", "m", "", *"kMGTPE"))},
    **{f"{suffix}i": Decimal(1024) ** n for n, suffix in enumerate("KMGTPE", start=1)},
}


def measure(
    nodes: Sequence[Json] | None, quotas: Sequence[Json] | None, claimed: Amounts
) -> tuple[Amounts, list[str]]:
    """Return the capacity, and warnings for the operator.

    `nodes` and `quotas` are None if the service account may not list them. A dimension that neither
    bounds is returned as `claimed`, the capacity that the operator gave the cluster.
    """
    warnings: list[str] = []
    bounds = []
    if nodes is None:
        warnings.append(
            "The service account may not list nodes, so it is unknown whether a Pod fits on one"
            " before it starts: grant the ClusterRole in docs/operating.md."
        )
    else:
        schedulable = [_amounts(n["status"]["allocatable"]) for n in nodes if _is_schedulable(n)]
        bounds.append({name: sum(node[name] for node in schedulable) for name in DIMENSIONS})
        warnings += _too_big(claimed, schedulable)
    bounds += [_limits(quota) for quota in quotas or ()]
    if not any(bounds):
        warnings.append(
            "The capacity of the Kubernetes cluster is unknown, because neither nodes nor a quota"
            " can be read: check that the cluster's own capacity is right."
        )
    capacity = {
        name: min([b[name] for b in bounds if name in b] or [claimed[name]]) for name in DIMENSIONS
    }
    return capacity, warnings


def _is_schedulable(node: Mapping[str, Any]) -> bool:
    """Whether Pods can be placed on the node: it is ready, not cordoned, and has no taint except
    the one that reserves nodes with GPUs for Pods that request GPUs."""
    spec, conditions = node["spec"], node["status"].get("conditions", ())
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
    barred = any(t["key"] != GPU and t["effect"] != "PreferNoSchedule"
                 for t in spec.get("taints", ()))  # fmt: skip
    return ready and not spec.get("unschedulable") and not barred


def _amounts(quantities: Mapping[str, str]) -> Amounts:
    return {name: _amount(name, quantities.get(key, "0")) for name, key in _RESOURCES.items()}


def _limits(quota: Mapping[str, Any]) -> Amounts:
    """Return the amounts that the quota bounds; none if it is scoped to other Pods."""
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
        raise ValueError(f"{text!r} is not a Kubernetes quantity")
    return Decimal(found[1]) * _SUFFIXES[found[2]]


def _too_big(claimed: Amounts, nodes: Sequence[Amounts]) -> list[str]:
    largest = {name: max((node[name] for node in nodes), default=0) for name in DIMENSIONS}
    if all(claimed[name] <= largest[name] for name in DIMENSIONS):
        return []
    text = (
        f"A Pod runs on one node, and the largest amounts of any node are {describe(**largest)}. A"
        " deployment that requests more, or more than is free on any single node, waits for a node"
        " and fails after ten minutes: let deployments request no more than one node has."
    )
    return [text]
