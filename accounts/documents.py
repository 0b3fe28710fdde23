"""JSON from outside, read so that it has one meaning or none."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_MAX_DEPTH = 32
_MAX_DIGITS = 40
_TOO_DEEP = f"The JSON is nested more than {_MAX_DEPTH} levels deep."


class NotJSON(ValueError):
    """The text is not JSON at all, or nested too deep."""


class BadDocument(ValueError):
    """Something in it cannot be meant: `problems` says what, by the path."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        said = (f"{path}: {why}" if path else why for path, why in problems.items())
        super().__init__(" ".join(said))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Refused:
    """Stands in a document where something is wrong, until its path is known."""

    why: str


def load(body: bytes) -> Any:
    """Read JSON in UTF-8 in which every key comes once, and every text and number can be stored.

    Raises NotJSON or BadDocument.
    """
    document = _decoded(body)
    if _is_deeper(document, _MAX_DEPTH):
        raise NotJSON(_TOO_DEEP)
    if problems := dict(_problems(document)):
        raise BadDocument(problems)
    return document


def _decoded(body: bytes) -> Any:
    try:
        # RFC 8259 lets a reader pass over a byte order mark.
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NotJSON(f"The body is not valid UTF-8 at byte {error.start}.") from error
    try:
        return json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_fraction,
            parse_constant=_constant,
        )
    except RecursionError as error:
        raise NotJSON(_TOO_DEEP) from error
    except ValueError as error:
        raise NotJSON(f"The body is not JSON: {error}.") from error


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        found[name] = Refused("This key appears more than once.") if name in found else value
    return found


def _integer(text: str) -> int | Refused:
    return int(text) if len(text) <= _MAX_DIGITS else _too_long(text)


def _fraction(text: str) -> float | Refused:
    if len(text) > _MAX_DIGITS:
        return _too_long(text)
    value = float(text)
    return value if math.isfinite(value) else Refused("This number is too large.")


def _constant(text: str) -> Refused:
    return Refused(f"JSON has no {text}.")


def _too_long(text: str) -> Refused:
    return Refused(f"This number has {len(text)} digits; at most {_MAX_DIGITS} are allowed.")


def _is_deeper(document: Any, depth: int) -> bool:
    level = [document]
    for _ in range(depth):
        level = [inner for value in level for inner in _inner(value) if inner.__class__ in _NESTING]
        if not level:
            return False
    return True


_NESTING = (dict, list)


def _inner(value: Any) -> Any:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _problems(document: Any) -> Iterator[tuple[str, str]]:
    """Yield the path and the fault of whatever cannot be meant."""
    waiting: list[tuple[tuple[str, ...], Any]] = [((), document)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, Refused):
            yield ".".join(path), value.why
        elif isinstance(value, str) and not _is_unicode(value):
            yield ".".join(path), _SURROGATE
        elif isinstance(value, dict):
            for name, inner in value.items():
                if _is_unicode(name):
                    waiting.append(((*path, name), inner))
                else:
                    yield ".".join((*path, _escaped(name))), _SURROGATE
        elif isinstance(value, list):
            waiting += [((*path, str(number)), inner) for number, inner in enumerate(value)]


_SURROGATE = "Half of a surrogate pair, such as \\ud800, is not a character."


def _is_unicode(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)


def _escaped(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
