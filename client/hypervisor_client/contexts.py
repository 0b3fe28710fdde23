"""Contexts: the services that a person uses, each with its address and token, kept in one file."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from hypervisor_client.errors import ClientError


@dataclass(frozen=True)
class Context:
    """A service: its address, the token for it and the token's id; the user is only for people."""

    url: str
    token: str = ""
    token_id: int | None = None
    user: str = ""


@dataclass
class Contexts:
    """All contexts by name, and which of them is used without `--context`."""

    current: str = ""
    known: dict[str, Context] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> Contexts:
        """Read the file; there are none if it does not exist. Raises ClientError if it is bad."""
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            known = {name: Context(**context) for name, context in found["contexts"].items()}
            return cls(found["current"], known)
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ClientError(f"{path} cannot be read ({error}): delete it and log in.") from error

    def save(self, path: Path) -> None:
        """Write the file for its owner alone, whole or not at all."""
        contexts = {name: asdict(context) for name, context in self.known.items()}
        text = json.dumps({"current": self.current, "contexts": contexts}, indent=2)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text + "\n")
        draft.replace(path)

    def chosen(self, name: str | None) -> Context:
        """Return the context with this name, or the current one. Raises ClientError."""
        wanted = name or self.current
        if wanted in self.known:
            return self.known[wanted]
        if name:
            names = ", ".join(sorted(self.known)) or "none"
            raise ClientError(f"There is no context {name!r}; there are: {names}.")
        raise ClientError("You are not logged in: hv login https://ADDRESS")


def file_of(environment: Mapping[str, str] = os.environ) -> Path:
    """Return where the contexts are kept: `HV_CONFIG`, or the place that the system has for it."""
    if chosen := environment.get("HV_CONFIG"):
        return Path(chosen)
    if sys.platform == "win32":
        folder = Path(environment.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    else:
        folder = Path(environment.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return folder / "hv" / "contexts.json"


def of_environment(environment: Mapping[str, str] = os.environ) -> Context | None:
    """Return the context that `HV_URL` and `HV_TOKEN` give, which come before any file.

    Raises ClientError for a token without an address, instead of using another token.
    """
    url, token = environment.get("HV_URL", ""), environment.get("HV_TOKEN", "")
    if token and not url:
        raise ClientError("HV_TOKEN is set, but HV_URL is not: set it to the service's address.")
    return Context(url, token) if url else None
