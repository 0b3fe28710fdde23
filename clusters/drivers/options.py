"""The base of the kinds' options of `connect_cluster`."""

import sys
from abc import ABC, abstractmethod
from argparse import ArgumentTypeError
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from clusters.connections import Route
from clusters.models import Connection


class Group(Protocol):
    """A group of an argparse parser."""

    def add_argument(self, *names: str, **settings: Any) -> Any: ...


class ConnectOptions(ABC):
    """A kind's part of the command line. All kinds share it, so option names must be unique."""

    @abstractmethod
    def add(self, flag: str, choice: Group, own: Group) -> None:
        """Add `flag`, which selects this kind, to `choice`, and all other options to `own`."""

    @abstractmethod
    def route(self, driver: str, options: Mapping[str, Any], known: Connection | None) -> Route:
        """Return the route that the options describe, to an engine of the kind `driver`.

        `known` is the cluster's present connection to an engine of this kind, which provides the
        values of omitted options. Raises DomainError if a value is missing.
        """


def text(file: str) -> str:
    """Return the stripped text of a file, or of standard input for `-`.

    A `type` for argparse: raises ArgumentTypeError if the text is empty or cannot be read.
    """
    try:
        found = sys.stdin.read() if file == "-" else Path(file).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ArgumentTypeError(f"{file} cannot be read: {error}") from error
    if not found.strip():
        name = "standard input" if file == "-" else file
        raise ArgumentTypeError(f"{name} is empty")
    return found.strip()


def given(files: Mapping[str, str | None]) -> dict[str, str]:
    """Return only the texts that are not empty."""
    return {name: found for name, found in files.items() if found}
