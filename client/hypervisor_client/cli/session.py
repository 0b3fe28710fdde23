"""What every command needs: the service that it is about, and how its result is shown."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from hypervisor_client.api import JSON, Client
from hypervisor_client.contexts import Context, Contexts, file_of, of_environment
from hypervisor_client.errors import NotOne


class Session:
    """A command's connection to its service, which is opened when it is first used."""

    def __init__(self, name: str | None, *, as_json: bool) -> None:
        self.name = name
        self.as_json = as_json
        self._client: Client | None = None

    @classmethod
    def of(cls, given: Namespace) -> Session:
        return cls(given.context, as_json=given.json)

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._client:
            self._client.close()

    @property
    def path(self) -> Path:
        return file_of()

    def context(self) -> Context:
        """Return the context that the command is about. Raises ClientError without one."""
        found = None if self.name else of_environment()
        return found or Contexts.load(self.path).chosen(self.name)

    @property
    def client(self) -> Client:
        if self._client is None:
            context = self.context()
            self._client = self.connect(context.url, context.token)
        return self._client

    def connect(self, url: str, token: str = "", *, patience_s: float = 60) -> Client:
        """Return a client that reports a service that does not answer."""
        return Client(url, token, patience_s=patience_s, note=lambda text: self.note(f"hv: {text}"))

    def remedy(self) -> str:
        """Return what to do about the token of the context, which the service has refused."""
        context = self.context()
        if self.name or not of_environment():
            return f"{context.url} does not accept your token any more: hv login {context.url}"
        if context.token:
            return "The token in HV_TOKEN is wrong, expired or revoked: set it to another one."
        return "HV_URL is set, but HV_TOKEN is not: set it to an API token, or unset HV_URL."

    def show(self, answer: Any, text: str) -> None:
        """Print the service's answer as JSON if that is wanted, or else the text."""
        print(json.dumps(answer, ensure_ascii=False) if self.as_json else text)

    def show_rows(
        self, rows: Iterable[JSON], titles: Sequence[str], cells: Iterable[Sequence[Any]]
    ) -> None:
        """Print the rows, as a JSON list or as a table."""
        self.show(rows, table(titles, cells))

    def note(self, text: str) -> None:
        """Print a remark that is not the result."""
        print(text, file=sys.stderr, flush=True)

    def deployment_of(self, text: str) -> int:
        """Return the id that the text is, or that of the deployment with this name.

        Of several with the name, the only one that has not ended is meant. Raises NotOne.
        """
        if text.isascii() and text.isdigit():
            return int(text)
        if not text:
            raise NotOne("A deployment's name is empty: give a name or an id.")
        found = [d for d in self.client.deployments(name=text) if d["name"] == text]
        live = [d for d in found if d["finished_at"] is None]
        if len(live or found) == 1:
            return int((live or found)[0]["id"])
        if not found:
            raise NotOne(f"You can see no deployment called {text!r}: hv ps --all")
        ids = ", ".join(f"{d['id']} ({d['status']})" for d in (live or found)[-10:])
        raise NotOne(f"Several deployments are called {text!r}; give an id: {ids}.")

    def cluster_of(self, text: str) -> int:
        """Return the id that the text is, or that of the only cluster with this name."""
        return _one(text, "cluster", self.client.clusters, "hv clusters")

    def node_of(self, cluster: int, text: str) -> int:
        """Return the id that the text is, or that of the cluster's node with this name."""
        how = f"hv api GET /clusters/{cluster}/nodes"
        return _one(text, "node", lambda: self.client.nodes(cluster), how)


def id_of(text: str, kind: str, how: str) -> int:
    """Return the id that the text is. Raises NotOne for something that is only known by its id."""
    if text.isascii() and text.isdigit():
        return int(text)
    raise NotOne(f"{text!r} is not the id of a {kind}: {how}")


def _one(text: str, kind: str, rows: Callable[[], Iterable[JSON]], how: str) -> int:
    """Return the id that the text is, or that of the only row with this name. Raises NotOne."""
    if text.isascii() and text.isdigit():
        return int(text)
    if not text:
        raise NotOne(f"A {kind}'s name is empty: give a name or an id.")
    found = [row for row in rows() if row["name"] == text]
    if not found:
        raise NotOne(f"You can see no {kind} called {text!r}: {how}")
    if len(found) > 1:
        ids = ", ".join(str(row["id"]) for row in found)
        raise NotOne(f"Several {kind}s are called {text!r}; give an id: {ids}.")
    return int(found[0]["id"])


def table(titles: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return lines with aligned columns; numbers are aligned at the right."""
    cells = [[_text(cell) for cell in row] for row in rows]
    found = list(rows) if isinstance(rows, Sequence) else []
    widths = [max(len(line[n]) for line in [list(titles), *cells]) for n in range(len(titles))]
    right = [
        bool(found) and all(isinstance(row[n], (int, float)) for row in found)
        for n in range(len(titles))
    ]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if is_right else cell.ljust(width)
            for cell, width, is_right in zip(line, widths, right)
        ).rstrip()
        for line in [list(titles), *cells]
    )


def _text(cell: Any) -> str:
    if cell is None:
        return "-"
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)
