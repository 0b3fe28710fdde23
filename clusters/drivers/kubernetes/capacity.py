"""Amounts as Kubernetes writes them, and the capacity of a cluster whose nodes are unknown."""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from clusters.drivers.kubernetes.pods import GPU
from clusters.models import DIMENSIONS

Amounts = dict[str, int]
Exact = dict[str, Decimal]
"""Amounts by dimension, which may have fractions of a unit."""

RESOURCES = {"cpu_milli": "cpu", "ram_mib": "memory", "gpu": GPU}
_UNIT = {"cpu_milli": Decimal("0.001"), "ram_mib": Decimal(1 << 20), "gpu": Decimal(1)}

_QUANTITY = re.compile(r"([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([A-Za-z]*)")
_SUFFIXES = {
    **{suffix: Decimal(1000) ** (n - 3) for n, suffix in enumerate(("n", "u", "m", "", *"kMGTPE"))},
    **{f"{suffix}i": Decimal(1024) ** n for n, suffix in enumerate("KMGTPE", start=1)},
}


def exact(quantities: Mapping[str, str]) -> Exact:
    """Return the amounts of the three resources; 0 for one that is missing."""
    return {
        name: parse_quantity(quantities.get(key, "0")) / _UNIT[name]
        for name, key in RESOURCES.items()
    }


def whole(amounts: Mapping[str, Decimal]) -> Amounts:
    """Return the amounts rounded down to whole units."""
    return {name: int(amounts[name]) for name in DIMENSIONS}


def measure(quota: Amounts, claimed: Amounts) -> tuple[Amounts, list[str]]:
    """Return the capacity of a cluster whose nodes are unknown, and warnings for the operator.

    A dimension that no quota bounds is returned as `claimed`, the capacity that the operator gave
    the cluster.
    """
    unknown = (
        "The service account may not list nodes, so the cluster counts as one node of its own size:"
        " deployments may be evicted for one that then fits on no machine, and fails after ten"
        " minutes; what other Pods use, and machines that are cordoned or down, are not noticed."
        " Grant the ClusterRole in docs/operating.md."
    )
    warnings = [unknown]
    if not quota:
        warnings.append(
            "The capacity of the Kubernetes cluster is unknown, because neither nodes nor a quota"
            " can be read: check that the cluster's own capacity is right."
        )
    return claimed | quota, warnings


def bounded(quotas: Sequence[Mapping[str, Any]] | None) -> Amounts:
    """Return the amounts that the namespace's quotas bound; they are None if they are unknown."""
    found: Amounts = {}
    for quota in quotas or ():
        for name, amount in _limits(quota).items():
            found[name] = min(amount, found.get(name, amount))
    return found


def _limits(quota: Mapping[str, Any]) -> Amounts:
    """Return the amounts that the quota bounds; none if it is scoped to other Pods."""
    if quota["spec"].get("scopes") or quota["spec"].get("scopeSelector"):
        return {}
    hard = quota["spec"].get("hard", {})
    keys = {name: (f"limits.{key}", f"requests.{key}", key) for name, key in RESOURCES.items()}
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
