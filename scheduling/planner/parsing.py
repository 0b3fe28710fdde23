"""Read an untrusted document field by field, with errors that name the field."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

_Row = TypeVar("_Row")


class Fields:
    """The fields of one JSON object. Each is read once; `finish` rejects the fields that remain.

    `path` names the object in errors, and `prefix` precedes the names of the rows inside it. Every
    method raises ValueError, which names the field that is wrong.
    """

    def __init__(self, document: Any, path: str, prefix: str = "") -> None:
        if not isinstance(document, dict):
            raise ValueError(f"{path}: expected an object")  # noqa: TRY004 - one error for callers
        self._left = dict(document)
        self._path = path
        self._prefix = prefix

    def integer(self, name: str, *, at_least: int | None = 0) -> int:
        value = self._take(name)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self._wrong(name, "expected a whole number")
        if at_least is not None and value < at_least:
            raise self._wrong(name, f"must be at least {at_least}")
        return value

    def optional(self, name: str, *, formerly: str = "") -> int | None:
        """Return a whole number, or None; `formerly` is the field's name in older documents."""
        if formerly in self._left and name not in self._left:
            name = formerly
        if self._left.get(name) is None:
            self._left.pop(name, None)
            return None
        return self.integer(name)

    def integers(self, name: str) -> list[int]:
        """Return a list of ids; empty when the field is missing."""
        value = self._left.pop(name, [])
        if not isinstance(value, list | tuple):
            raise self._wrong(name, "expected a list")
        if any(isinstance(id_, bool) or not isinstance(id_, int) or id_ < 0 for id_ in value):
            raise self._wrong(name, "expected whole numbers of at least 0")
        return list(value)

    def flag(self, name: str, default: bool) -> bool:
        value = self._left.pop(name, default)
        if not isinstance(value, bool):
            raise self._wrong(name, "expected true or false")
        return value

    def text(self, name: str, default: str) -> str:
        value = self._left.pop(name, default)
        if not isinstance(value, str):
            raise self._wrong(name, "expected text")
        return value

    def choice(self, name: str, choices: Sequence[str], default: str) -> str:
        value = self.text(name, default)
        if value not in choices:
            raise self._wrong(name, f"must be one of {', '.join(choices)}")
        return value

    def mapping(self, name: str) -> dict[str, Any]:
        value = self._left.pop(name, {})
        if not isinstance(value, dict):
            raise self._wrong(name, "expected an object")
        return value

    def rows(self, name: str, *, optional: bool = False) -> Iterator["Fields"]:
        value = self._left.pop(name, []) if optional else self._take(name)
        if not isinstance(value, list):
            raise self._wrong(name, "expected a list")
        for index, row in enumerate(value):
            path = f"{self._prefix}{name}[{index}]"
            yield Fields(row, path, f"{path}.")

    def read_rows(
        self,
        name: str,
        plain: Callable[[dict[str, Any]], _Row | None],
        any_: Callable[["Fields"], _Row],
    ) -> Iterator[_Row]:
        """Yield what `plain` makes of each row, or `any_` if that returns None."""
        value = self._take(name)
        if not isinstance(value, list):
            raise self._wrong(name, "expected a list")
        for index, row in enumerate(value):
            made = plain(row) if isinstance(row, dict) else None
            if made is None:
                path = f"{self._prefix}{name}[{index}]"
                made = any_(Fields(row, path, f"{path}."))
            yield made

    def document(self, name: str) -> tuple[Any, str]:
        """Return a value and its path, for a reader of its own; an empty object if missing."""
        return self._left.pop(name, {}), f"{self._path}.{name}"

    def has(self, name: str) -> bool:
        return name in self._left

    def finish(self) -> None:
        if self._left:
            raise self._wrong(min(self._left), "no such field")

    def _take(self, name: str) -> Any:
        if name not in self._left:
            raise self._wrong(name, "is missing")
        return self._left.pop(name)

    def _wrong(self, name: str, what: str) -> ValueError:
        return ValueError(f"{self._path}.{name}: {what}")
