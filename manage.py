#!/usr/bin/env python3
"""The one entry point: `up`, `test`, `demo`, and every Django command.

Needs nothing but Python and pip; the rest is installed into .venv on first use.
"""

import os
import sys
from typing import NoReturn

if sys.version_info < (3, 11):  # noqa: UP036 saying so is what it is for
    sys.exit("error: Python 3.11 or newer is needed; this is " + sys.version.split()[0] + ".")

from hypervisor import version
from hypervisor.standalone import bootstrap, overview

_OWN_HELP = {"up": overview.up_parser, "test": overview.test_parser}
"""The commands that are not Django's, each with what parses or explains its arguments."""


def main() -> None:
    command, *arguments = sys.argv[1:] or ["help"]
    if _tells_of_itself(command, arguments):
        return
    if command == "up":
        _up(arguments)
    if command == "test":
        _test(arguments)
    bootstrap.ensure("production")
    from hypervisor.standalone import commands

    commands.run(sys.argv)


def _tells_of_itself(command: str, arguments: list[str]) -> bool:
    """Print what needs neither a package nor a service, if that is what was asked for."""
    if command in ("--version", "version"):
        _print(f"{version.NAME} {version.VERSION}")
    elif command in ("help", "--help", "-h") and not arguments:
        _print(overview.overview())
    elif command == "help" and arguments[0] in _OWN_HELP:
        _OWN_HELP[arguments[0]]().print_help()
    elif command in _OWN_HELP and {"-h", "--help"} & set(arguments):
        _OWN_HELP[command]().print_help()
    else:
        return False
    return True


def _up(arguments: list[str]) -> NoReturn:
    overview.up_parser().parse_args(arguments)
    bootstrap.ensure("up")
    from hypervisor.standalone import up

    sys.exit(up.main())


def _test(arguments: list[str]) -> NoReturn:
    bootstrap.ensure("test")
    os.chdir(bootstrap.ROOT)
    # An option follows `--cov`, which would take a path after it as what to measure.
    pytest = ["-m", "pytest", "--cov", "--cov-config=pyproject.toml"]
    if arguments != ["--docker"]:
        pytest.append("--cov-fail-under=0")  # the floor is that of the whole suite
    os.execv(sys.executable, [sys.executable, *pytest, *arguments])  # noqa: S606


def _print(text: str) -> None:
    print(text)  # noqa: T201 an answer


if __name__ == "__main__":
    main()
