"""Environment variables: plain texts, and secrets that go in and never come out again.

A value is a text, or `{"secret": …}`: encrypted wherever it is kept, None where it is shown. Who
sends back the None that was shown means the secret that is there.
"""

import re
from collections.abc import Mapping
from typing import Any

from clusters.secrets import CannotDecrypt, decrypt, encrypt
from hypervisor.base.errors import Invalid

Env = Mapping[str, str | Mapping[str, str | None]]

_NAME = re.compile(r"(?!\.$|\.\.)[A-Za-z_.-][A-Za-z0-9_.-]*")
"""Names that every engine accepts. Docker takes nearly all, Kubernetes before 1.32 these only."""

_SHOWN = 60

SECRET = "secret"  # noqa: S105 a key's name


def wrong_name(name: str) -> str | None:
    """Return why it cannot be the name of a variable, None when it can."""
    if _NAME.fullmatch(name):
        return None
    shown = name if len(name) <= _SHOWN else f"{name[:_SHOWN]}…"
    return (
        f"{shown!r} cannot be the name of an environment variable: use letters, digits, '_', '-'"
        " and '.' only, and begin neither with a digit nor with '..'."
    )


def seal(text: str) -> dict[str, str | None]:
    """Return the value that is kept of a secret."""
    return {SECRET: encrypt(text).decode()}


def masked(env: Env) -> dict[str, Any]:
    """Return what may be shown."""
    return {
        name: value if isinstance(value, str) else {SECRET: None} for name, value in env.items()
    }


def opened(env: Env) -> dict[str, str]:
    """Return all values in clear: for a container, for nobody else. Raises CannotDecrypt."""
    return {name: value if isinstance(value, str) else _open(value) for name, value in env.items()}


def completed(given: Env, former: Env) -> dict[str, Any]:
    """Put the secrets that are there where the given ones are None.

    Raises Invalid when there is none of that name.
    """
    return {name: _complete(name, value, former) for name, value in given.items()}


def comparable(env: Env) -> dict[str, Any]:
    """Return what is equal when the values are, however often each was encrypted."""
    return {
        name: value if isinstance(value, str) else _or_token(value) for name, value in env.items()
    }


def _complete(name: str, value: str | Mapping[str, str | None], former: Env) -> Any:
    if isinstance(value, str) or value[SECRET] is not None:
        return value
    kept = former.get(name)
    if kept is None or isinstance(kept, str):
        raise Invalid(
            f'{name}: there is no secret to keep; give its value as {{"secret": "…"}}.',
            attr="env",
            code="no_secret",
        )
    return kept


def _open(value: Mapping[str, str | None]) -> str:
    return decrypt(value[SECRET] or "")


def _or_token(value: Mapping[str, str | None]) -> tuple[str, str | None]:
    try:
        return SECRET, _open(value)
    except CannotDecrypt:
        return "encrypted", value[SECRET]
