"""Which Nodes a connection uses, by their labels."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from clusters.labels import wrong_key, wrong_value


@dataclass(frozen=True, slots=True)
class NodeSelector:
    """The labels that a Node must have, all of them; without any, every Node is used."""

    labels: Mapping[str, str]

    @classmethod
    def read(cls, texts: Iterable[str]) -> "NodeSelector":
        """Read `KEY=VALUE` texts, as `kubectl label` writes labels. Raises ValueError."""
        labels: dict[str, str] = {}
        for text in texts:
            key, equals, value = text.partition("=")
            if not equals:
                raise ValueError(f"Node selector: {text!r} is not of the form KEY=VALUE.")
            if wrong := wrong_key(key) or wrong_value(value):
                raise ValueError(f"Node selector: {wrong}")
            if labels.setdefault(key, value) != value:
                raise ValueError(
                    f"Node selector: {key} cannot be {labels[key]} and {value} at once."
                )
        return cls(labels)

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(labels.get(key) == value for key, value in self.labels.items())


EVERY_NODE = NodeSelector({})
