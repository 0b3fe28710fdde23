"""What a tool returns: small enough for an agent's context, and refusals as sentences."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

MOST_ROWS = 100
"""The most rows of a page, and of a list within an object."""

MOST_TEXT = 20_000
"""The most characters of an output, from its end: about 5,000 tokens."""


@dataclass
class Refused(Exception):
    """A call that a tool cannot make, with a sentence for each problem."""

    text: str

    @classmethod
    def by_api(cls, error: Mapping[str, Any], retry_after: str | None) -> "Refused":
        """Return the refusal in an error of the REST API."""
        lines = [
            f"{each['attr'] + ': ' if each['attr'] else ''}{each['detail']} (code {each['code']})"
            for each in error["errors"]
        ]
        if retry_after is not None:
            lines.append(f"Repeat the call after {retry_after} seconds.")
        return cls("\n".join(lines))


def columns(row: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return some columns of a row of the API, because whole rows are long."""
    return {name: row[name] for name in names}


def page(answer: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return a page of a list with some columns of its rows, and the cursor of the next page."""
    following = parse_qs(urlsplit(answer["next"] or "").query)
    return {
        "count": answer["count"],
        "next_cursor": following.get("cursor", [None])[0],
        "results": [columns(row, names) for row in answer["results"]],
    }


def bounded(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object with at most MOST_ROWS of each list; `omitted` counts the others."""
    too_long = {
        name: len(value) - MOST_ROWS
        for name, value in answer.items()
        if isinstance(value, list) and len(value) > MOST_ROWS
    }
    cut = {name: answer[name][:MOST_ROWS] for name in too_long}
    return {**answer, **cut, **({"omitted": too_long} if too_long else {})}


def end_of(output: str) -> dict[str, Any]:
    """Return the end of an output, in whole lines unless the last one is too long."""
    end = output[-MOST_TEXT:]
    is_cut = len(end) < len(output)
    if is_cut and "\n" in end[:-1]:
        end = end[end.index("\n") + 1 :]
    return {"output": end, "truncated": is_cut}


def succeeded(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the result of a tool call, as data and, for clients that read no data, as text."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return {
        "content": [{"type": "text", "text": text}],
        "structuredContent": data,
        "isError": False,
    }


def failed(refusal: Refused) -> dict[str, Any]:
    """Return the result of a tool call that was refused; an agent reads it and can do better."""
    return {"content": [{"type": "text", "text": refusal.text}], "isError": True}
