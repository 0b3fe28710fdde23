"""Taints of nodes, and the tolerations with which Pods may run there anyway."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_TEXT = re.compile(
    r"(?P<key>[A-Za-z0-9][A-Za-z0-9._/-]*)(?:=(?P<value>[A-Za-z0-9._-]*))?"
    r"(?::(?P<effect>NoSchedule|NoExecute|PreferNoSchedule))?"
)
_BARRING = ("NoSchedule", "NoExecute")


@dataclass(frozen=True, slots=True)
class Toleration:
    """A toleration of the taints with this key; any value for None, any effect for ""."""

    key: str
    value: str | None = None
    effect: str = ""

    @classmethod
    def read(cls, text: str) -> "Toleration":
        """Read `KEY[=VALUE][:EFFECT]`, as `kubectl taint` writes a taint. Raises ValueError."""
        found = _TEXT.fullmatch(text)
        if not found:
            raise ValueError(
                f"{text!r} is not a toleration: give KEY, KEY=VALUE, KEY:EFFECT or"
                " KEY=VALUE:EFFECT, with the effect NoSchedule, NoExecute or PreferNoSchedule."
            )
        return cls(found["key"], found["value"], found["effect"] or "")

    def covers(self, taint: Mapping[str, Any]) -> bool:
        same_value = self.value is None or self.value == taint.get("value", "")
        same_effect = not self.effect or self.effect == taint["effect"]
        return self.key == taint["key"] and same_value and same_effect

    def manifest(self) -> dict[str, str]:
        """Return it as a Pod has it."""
        made = {"key": self.key, "operator": "Exists" if self.value is None else "Equal"}
        if self.value is not None:
            made["value"] = self.value
        return made | ({"effect": self.effect} if self.effect else {})


GPU_TOLERATION = Toleration("nvidia.com/gpu", effect="NoSchedule")


def barring(
    taints: Iterable[Mapping[str, Any]], tolerations: Iterable[Toleration]
) -> Mapping[str, Any] | None:
    """Return the first taint that keeps Pods with these tolerations off the node, or None."""
    tolerated = (GPU_TOLERATION, *tolerations)
    for taint in taints:
        if taint["effect"] in _BARRING and not any(t.covers(taint) for t in tolerated):
            return taint
    return None
