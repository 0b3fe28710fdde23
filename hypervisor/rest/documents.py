"""JSON from outside, which is refused unless it has exactly one meaning."""

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

_SURROGATE = "Half of a surrogate pair, such as \\ud800, is not a character."
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")

_NESTING = (dict, list)
_MAX_DEPTH = 32
_MAX_DIGITS = 40
_MAX_PROBLEMS = 20
_TOO_DEEP = f"The JSON is nested more than {_MAX_DEPTH} levels deep."


class NotJSON(ValueError):
    """The text is not JSON, or it is nested too deeply."""


class BadDocument(ValueError):
    """Parts of the JSON are ambiguous or cannot be stored: `problems` has the reasons by path."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        sentences = (f"{path}: {why}" if path else why for path, why in problems.items())
        super().__init__(" ".join(sentences))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Refused:
    """The placeholder of a refused value, whose path is determined later."""

    why: str


def load(body: bytes) -> Any:
    """Read JSON in UTF-8 without repeated keys and without texts or numbers that cannot be stored.

    Raises NotJSON or BadDocument.
    """
    try:
        # RFC 8259 allows a parser to ignore a byte order mark.
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NotJSON(f"The body is not valid UTF-8 at byte {error.start}.") from error
    reader = _Reader()
    document = reader.read(text)
    if _is_deeper(document, _MAX_DEPTH):
        raise NotJSON(_TOO_DEEP)
    # Every request passes here, so a valid document is not searched for paths.
    is_suspect = reader.has_refused or _SURROGATE_ESCAPE.search(text)
    if is_suspect and (problems := dict(islice(_problems(document), _MAX_PROBLEMS))):
        raise BadDocument(problems)
    return document


class _Reader:
    """Reads one text and records whether it contains a refused value."""

    def __init__(self) -> None:
        self.has_refused = False

    def read(self, text: str) -> Any:
        try:
            return json.loads(
                text,
                object_pairs_hook=self._object,
                parse_int=self._integer,
                parse_float=self._fraction,
                parse_constant=self._constant,
            )
        except RecursionError as error:
            raise NotJSON(_TOO_DEEP) from error
        except ValueError as error:
            raise NotJSON(f"This is not JSON: {error}.") from error

    def _object(self, pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            for name, count in Counter(name for name, _ in pairs).items():
                if count > 1:
                    found[name] = self._refuse("This key appears more than once.")
        return found

    def _integer(self, text: str) -> int | Refused:
        return int(text) if len(text) <= _MAX_DIGITS else self._too_long(text)

    def _fraction(self, text: str) -> float | Refused:
        if len(text) > _MAX_DIGITS:
            return self._too_long(text)
        value = float(text)
        return value if math.isfinite(value) else self._refuse("This number is too large.")

    def _constant(self, text: str) -> Refused:
        return self._refuse(f"JSON has no {text}.")

    def _too_long(self, text: str) -> Refused:
        return self._refuse(
            f"This number has {len(text)} digits; at most {_MAX_DIGITS} are allowed."
        )

    def _refuse(self, why: str) -> Refused:
        self.has_refused = True
        return Refused(why)


def _is_deeper(document: Any, depth: int) -> bool:
    level = [document] if document.__class__ in _NESTING else []
    for _ in range(depth):
        level = [
            inner
            for value in level
            for inner in (value.values() if value.__class__ is dict else value)
            if inner.__class__ in _NESTING and inner
        ]
        if not level:
            return False
    return True


def _problems(document: Any) -> Iterator[tuple[str, str]]:
    """Yield the path and the reason of every refused part."""
    waiting: list[tuple[_Path, Any]] = [(None, [document])]
    while waiting:
        path, container = waiting.pop()
        is_list = container.__class__ is list
        steps: Iterable[tuple[Any, Any]] = enumerate(container) if is_list else container.items()
        for name, value in steps:
            kind = value.__class__
            if not is_list and not _is_unicode(name):
                yield _dotted((path, _escaped(name))), _SURROGATE
            elif kind is str:
                if not _is_unicode(value):
                    yield _dotted((path, name)), _SURROGATE
            elif kind is Refused:
                yield _dotted((path, name)), value.why
            elif value and kind in _NESTING:
                waiting.append(((path, name), value))


_Path = tuple[Any, str | int] | None
"""The path before the last step, and the last step; the first step leads to the document."""


def _dotted(path: _Path) -> str:
    steps: list[str] = []
    while path:
        path, step = path
        steps.append(str(step))
    return ".".join(steps[-2::-1])


def _is_unicode(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)


def _escaped(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
