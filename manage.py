#!/usr/bin/env python3
"""The one entry point: `up`, `test`, `demo`, and every Django command.

It needs only Python and pip, and installs the rest into .venv on first use.
"""

import os
import sys
from typing import NoReturn

if sys.version_info < (3, 11):  # noqa: UP036 for older versions
    sys.exit("error: Python 3.11 or newer is needed; this is " + sys.version.split()[0] + ".")

from hypervisor import version
from hypervisor.standalone import bootstrap, overview

_PARSERS = {"up": overview.up_parser, "test": overview.test_parser}
"""The parsers of the commands that are not Django's."""


def main() -> None:
    command, *arguments = sys.argv[1:] or ["help"]
    if _print_help(command, arguments):
        return
    if command == "up":
        _up(arguments)
    if command == "test":
        _test(arguments)
    bootstrap.ensure("production")
    from hypervisor.standalone import commands

    commands.run(sys.argv)


def _print_help(command: str, arguments: list[str]) -> bool:
    """Print the help or version if the command asks for it; return whether it does.

    This needs neither packages nor a service.
    """
    if command in ("--version", "version"):
        _print(f"{version.NAME} {version.VERSION}")
    elif command in ("help", "--help", "-h") and not arguments:
        _print(overview.overview())
    elif command == "help" and arguments[0] in _PARSERS:
        _PARSERS[arguments[0]]().print_help()
    elif command in _PARSERS and {"-h", "--help"} & set(arguments):
        _PARSERS[command]().print_help()
    else:
        return False
    return True


def _up(arguments: list[str]) -> NoReturn:
    options = overview.up_parser().parse_args(arguments)
    bootstrap.ensure("up")
    from hypervisor.standalone import up

    sys.exit(up.main(dict(options.scale)))


def _test(arguments: list[str]) -> NoReturn:
    bootstrap.ensure("test")
    os.chdir(bootstrap.ROOT)
    os.execv(sys.executable, [sys.executable, "-m", "pytest", *arguments])  # noqa: S606


def _print(text: str) -> None:
    print(text)  # noqa: T201 the output


if __name__ == "__main__":
    main()
