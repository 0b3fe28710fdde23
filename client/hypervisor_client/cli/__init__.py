"""The command `hv`."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hypervisor_client.cli.parser import build

if TYPE_CHECKING:
    from hypervisor_client.cli.session import Session
    from hypervisor_client.errors import ApiError

_INTERRUPTED = 130
_REFUSED_TOKENS = ("not_authenticated", "token_not_valid")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code: 0, 1 for an error, 2 for wrong usage.

    `hv wait` and `hv submit --wait` end with the code of the container.
    """
    given = parsed(sys.argv[1:] if arguments is None else arguments)
    # Imported only now, because `--help` and a completion must not wait for the HTTP client.
    from hypervisor_client.cli.session import Session
    from hypervisor_client.errors import ApiError, ClientError

    session = Session.of(given)
    try:
        with session:
            return int(given.carry_out(session, given) or 0)
    except ApiError as error:
        print(_described(error, session, given), file=sys.stderr)
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


def _described(error: ApiError, session: Session, given: Namespace) -> str:
    if error.code in _REFUSED_TOKENS:
        # The service speaks to programs that log in by its API.
        is_new = given.command in ("login", "register")
        return f"hv: {'The service refuses this token.' if is_new else session.remedy()}"
    lines = [f"hv: {line}" for line in str(error).splitlines()]
    if error.status >= 500 and error.request_id:
        lines.append(f"hv: If it stays so, give an operator this request's id: {error.request_id}")
    return "\n".join(lines)
