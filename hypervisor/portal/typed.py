"""Fields of a deployment that have structure, as the text that people type for them.

`read_…` returns what the REST API takes for a text, and raises ValueError with the remedy;
`…_text` returns the text for what the API has.
"""

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from deployments.environment import Env, plain
from hypervisor.base.numbers import whole

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_TIME = re.compile(r"(\d{1,10}) ?([smhd]?)")
_WEIGHT = re.compile(r"(.*\S)\s*\*\s*(\d+)")


def read_command(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ValueError(f"{error}: close each quotation mark, as in a shell.") from error


def command_text(command: Iterable[str]) -> str:
    return shlex.join(command)


def mib_text(mib: int) -> str:
    gib, rest = divmod(mib, 1024)
    return f"{mib}Mi" if rest else f"{gib}Gi"


def read_seconds(text: str) -> int:
    """Return seconds for `3600`, `90m`, `12h` or `2d`."""
    found = _TIME.fullmatch(text.strip())
    if found is None:
        raise ValueError("Give seconds, or a number with a unit: 90m, 12h or 2d.")
    return int(found[1]) * _UNITS[found[2]]


def seconds_text(seconds: int) -> str:
    for unit in ("d", "h", "m"):
        if seconds and seconds % _UNITS[unit] == 0:
            return f"{seconds // _UNITS[unit]}{unit}"
    return str(seconds)


def read_variables(text: str) -> dict[str, str]:
    """Return the variables for lines `NAME=value`."""
    found: dict[str, str] = {}
    for line in _lines(text):
        name, equals, value = line.partition("=")
        if not equals:
            raise ValueError(f"{line!r} has no `=`: write one NAME=value on each line.")
        if name.strip() in found:
            raise ValueError(f"{name.strip()} is given twice: remove one of its lines.")
        found[name.strip()] = value
    return found


def read_secrets(text: str) -> dict[str, str]:
    """Return the variables as `read_variables` does; none may be empty."""
    found = read_variables(text)
    empty = [name for name, value in found.items() if not value]
    if empty:
        raise ValueError(
            f"{empty[0]} has no value: secrets are not shown again, so type it, or remove the line."
        )
    return found


def variables_text(env: Env) -> str:
    return "\n".join(f"{name}={value}" for name, value in sorted(plain(env).items()))


def read_labels(text: str) -> dict[str, str]:
    """Return the labels for `team=vision, run=42`."""
    found = {}
    for part in text.replace(",", " ").split():
        name, equals, value = part.partition("=")
        if not equals:
            raise ValueError(f"{part!r} has no `=`: write labels as team=vision, run=42.")
        found[name] = value
    return found


def labels_text(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(labels.items()))


def read_conditions(text: str, *, weighted: bool = False) -> dict[str, Any]:
    """Return conditions on a node's labels, one on each line.

    `gpu.model=h100,a100`: it is one of these. `zone!=b`: it is none of these. `fast`: the node has
    the label, `!spot`: it does not. With `weighted`, a line may end with a weight: `zone=a *5`.
    """
    found: dict[str, Any] = {}
    for line in _lines(text):
        body, weight = line, None
        if weighted and (match := _WEIGHT.fullmatch(line)):
            body, weight = match[1], int(match[2])
        name, condition = _condition(body)
        if weight is not None:
            condition = {"in": condition} if isinstance(condition, list) else condition
            condition = {**condition, "weight": weight}
        if name in found:
            raise ValueError(f"{name} has two conditions: write one line for each label.")
        found[name] = condition
    return found


def _condition(text: str) -> tuple[str, Any]:
    name, equals, values = text.partition("=")
    if not equals:
        absent = text.startswith("!")
        return text.removeprefix("!").strip(), {"exists": not absent}
    several = [value.strip() for value in values.split(",")]
    if name.endswith("!"):
        return name.removesuffix("!").strip(), {"not": several}
    return name.strip(), several


def conditions_text(conditions: Mapping[str, Any]) -> str:
    return "\n".join(_condition_text(name, form) for name, form in conditions.items())


def _condition_text(name: str, form: Any) -> str:
    if isinstance(form, list):
        return f"{name}={','.join(form)}"
    weight = f" *{form['weight']}" if "weight" in form else ""
    if "exists" in form:
        return f"{'' if form['exists'] else '!'}{name}{weight}"
    sign, values = ("=", form["in"]) if "in" in form else ("!=", form["not"])
    return f"{name}{sign}{','.join(values)}{weight}"


def read_user(text: str) -> dict[str, int]:
    """Return the ids for `1000` or `1000:1000`."""
    ids = [whole(part.strip()) for part in text.split(":")]
    if len(ids) > 2 or None in ids:
        raise ValueError("Give the id of a user, or those of a user and a group: 1000:1000.")
    return dict(zip(("uid", "gid"), (number for number in ids if number is not None), strict=False))


def user_text(run_as: Mapping[str, int | None] | None) -> str:
    ids = [run_as.get("uid"), run_as.get("gid")] if run_as else []
    return ":".join(str(number) for number in ids if number is not None)


def read_waits(text: str) -> list[dict[str, Any]]:
    """Return the dependencies for `7, 8:running`."""
    found = []
    for part in text.replace(",", " ").split():
        id_, colon, condition = part.partition(":")
        pk = whole(id_)
        if pk is None or (colon and condition not in ("completed", "running")):
            raise ValueError(
                f"{part!r} is no dependency: give ids of deployments, such as 7, or 8:running to"
                " wait only until it runs."
            )
        found.append({"deployment": pk, "condition": condition or "completed"})
    return found


def waits_text(waits: Iterable[tuple[int, str]]) -> str:
    return ", ".join(f"{pk}:running" if how == "running" else str(pk) for pk, how in waits)


def _lines(text: str) -> Iterator[str]:
    return (line.strip() for line in text.splitlines() if line.strip())
