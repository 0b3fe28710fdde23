"""What the kinds' options of `connect_cluster` have in common."""

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
    """A kind's part of the command line. All kinds share it: the names of options are unique."""

    @abstractmethod
    def add(self, flag: str, choice: Group, own: Group) -> None:
        """Add `flag`, which chooses this kind, to `choice`, and all other options to `own`."""

    @abstractmethod
    def route(self, driver: str, options: Mapping[str, Any], known: Connection | None) -> Route:
        """Return the route that the options describe, to an engine of the kind `driver`.

        `known` is the cluster's present connection to an engine of this kind: what the options
        leave out stays as it is there. Raises DomainError when something is missing.
        """


def text(file: str) -> str:
    """Return the text of a file, or of standard input for `-`, without blanks around it.

    A `type` for argparse: raises ArgumentTypeError when it is empty or cannot be read.
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
    """Return the texts that are there."""
    return {name: found for name, found in files.items() if found}
