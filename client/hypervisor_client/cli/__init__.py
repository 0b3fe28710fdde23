"""The command `hv`."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Sequence

from hypervisor_client.cli.parser import build

_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code: 0, 1 for an error, 2 for wrong usage.

    `hv wait` and `hv submit --wait` end with the code of the container.
    """
    given = parsed(sys.argv[1:] if arguments is None else arguments)
    # Imported only now, because `--help` and a completion must not wait for the HTTP client.
    from hypervisor_client.cli.session import Session
    from hypervisor_client.errors import ApiError, ClientError

    try:
        with Session.of(given) as session:
            return int(given.carry_out(session, given) or 0)
    except ApiError as error:
        print(_described(error, given.command), file=sys.stderr)
        return 1
    except ClientError as error:
        print(f"hv: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader, such as `head`, has enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return _INTERRUPTED


def parsed(arguments: Sequence[str]) -> Namespace:
    """Return the parsed arguments; `words` is what follows `--`, the container's command."""
    own, words = list(arguments), []
    if "--" in own:
        at = own.index("--")
        own, words = own[:at], own[at + 1 :]
    parser = build()
    given = parser.parse_args(own)
    if words and given.command != "submit":
        parser.error("only `submit` takes a command after `--`")
    given.words = words
    return given


def _described(error: Exception, command: str) -> str:
    lines = [f"hv: {line}" for line in str(error).splitlines()]
    status = getattr(error, "status", 0)
    if status == 401:
        lines.append("hv: Log in again: hv login")
    request_id = getattr(error, "request_id", "")
    if status >= 500 and request_id:
        lines.append(f"hv: If it stays so, give an operator this request's id: {request_id}")
    return "\n".join(lines)
