#!/usr/bin/env python3
"""The one entry point: `up`, `test`, `demo`, and every Django command.

Needs nothing but Python and pip; the rest is installed into .venv on first use.
"""

import os
import sys

if sys.version_info < (3, 11):  # noqa: UP036 saying so is what it is for
    sys.exit("error: Python 3.11 or newer is needed; this is " + sys.version.split()[0] + ".")

from hypervisor import bootstrap


def main() -> None:
    command = sys.argv[1] if len(sys.argv) > 1 else "help"
    if command == "up":
        bootstrap.ensure("up")
        from hypervisor import up

        sys.exit(up.main(sys.argv[2:]))
    if command == "test":
        bootstrap.ensure("test")
        os.chdir(bootstrap.ROOT)
        # An option follows `--cov`, which would take a path after it as what to measure.
        pytest = ["-m", "pytest", "--cov", "--cov-config=pyproject.toml", *sys.argv[2:]]
        os.execv(sys.executable, [sys.executable, *pytest])  # noqa: S606
    bootstrap.ensure("production")
    from hypervisor import commands

    commands.run(sys.argv)


if __name__ == "__main__":
    main()
