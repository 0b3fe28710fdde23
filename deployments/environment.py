"""Environment variables: plain texts, and secrets that are never shown again.

A value is a text, or `{"secret": …}`, which holds the encrypted secret in storage and None in
responses. If a request sends this None back, the stored secret is kept.
"""

import re
from collections.abc import Mapping
from typing import Any

from hypervisor.base.errors import Invalid
from hypervisor.base.secrets import CannotDecrypt, decrypt, encrypt

Env = Mapping[str, str | Mapping[str, str | None]]

_NAME = re.compile(r"(?!\.$|\.\.)[A-Za-z_.-][A-Za-z0-9_.-]*")
"""The names that every engine accepts: Kubernetes before 1.32 allows only these."""

_SHOWN = 60

SECRET = "secret"  # noqa: S105 a key's name


def wrong_name(name: str) -> str | None:
    """Return why a variable cannot have this name, None if it can."""
    if _NAME.fullmatch(name):
        return None
    shown = name if len(name) <= _SHOWN else f"{name[:_SHOWN]}…"
    return (
        f"{shown!r} cannot be the name of an environment variable: use letters, digits, '_', '-'"
        " and '.' only, and begin neither with a digit nor with '..'."
    )


def seal(text: str) -> dict[str, str | None]:
    """Return the value to store for a secret."""
    return {SECRET: encrypt(text).decode()}


def masked(env: Env) -> dict[str, Any]:
    """Return the environment with None for every secret."""
    return {
        name: value if isinstance(value, str) else {SECRET: None} for name, value in env.items()
    }


def plain(env: Env) -> dict[str, str]:
    """Return the variables that are not secrets."""
    return {name: value for name, value in env.items() if isinstance(value, str)}


def opened(env: Env) -> dict[str, str]:
    """Return the secrets in plain text, for the container only. Raises CannotDecrypt."""
    return {name: _open(value) for name, value in env.items() if not isinstance(value, str)}


def completed(given: Env, former: Env) -> dict[str, Any]:
    """Replace each secret that is None by the stored secret of that name.

    Raises Invalid if there is no such secret.
    """
    return {name: _complete(name, value, former) for name, value in given.items()}


def comparable(env: Env) -> dict[str, Any]:
    """Return a mapping that compares equal if the plain values are equal.

    Encrypting the same secret twice gives different texts. A secret that cannot be decrypted equals
    only the same encrypted text.
    """
    return {
        name: value if isinstance(value, str) else _or_token(value) for name, value in env.items()
    }


def _complete(name: str, value: str | Mapping[str, str | None], former: Env) -> Any:
    if isinstance(value, str) or value[SECRET] is not None:
        return value
    kept = former.get(name)
    if kept is None or isinstance(kept, str):
        raise Invalid(
            f'{name}: there is no stored secret to keep; give its value as {{"secret": "…"}}.',
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
