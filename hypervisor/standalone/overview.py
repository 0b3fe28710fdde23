"""The commands of `manage.py` and their help, before anything is installed.

This module imports only the standard library.
"""

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from textwrap import fill

from hypervisor.standalone.bootstrap import ROOT
from hypervisor.version import NAME, VERSION


@dataclass(frozen=True, slots=True)
class Entry:
    """A command with its arguments, and a short description."""

    usage: str
    does: str

    @property
    def name(self) -> str:
        return self.usage.partition(" ")[0]


_HAS_BENCHMARKS = (ROOT / "benchmarks").is_dir()
"""The image does not contain them."""

GROUPS: dict[str, tuple[Entry, ...]] = {
    "Run the service": (
        Entry("up", "runs the whole service on this machine"),
        Entry("status", "shows what works, how full it is, and what waits"),
        Entry("demo", "fills a running service with example organizations"),
        Entry("test", "runs the tests; passes its arguments to pytest"),
    ),
    "Deployments": (
        Entry("explain DEPLOYMENT", "explains the state of a deployment"),
        Entry("logs DEPLOYMENT", "prints the output of a deployment's container"),
        Entry("schedule", "runs a scheduling cycle, or shows what it would do"),
    ),
    "Clusters and their engines": (
        Entry("connect_cluster CLUSTER", "connects a cluster or a node to its engine"),
        Entry("disconnect_cluster CLUSTER", "disconnects an empty cluster or node"),
        Entry("declare_lost CLUSTER", "declares an engine lost: its work runs elsewhere"),
        Entry("claim_engine CLUSTER", "claims an engine after a restore"),
    ),
    "Operation": (
        Entry("verify", "checks that database and engines agree"),
        Entry("rotate_credentials", "encrypts all secrets with the first key"),
        Entry("createsuperuser", "adds an operator, who may log in to the admin"),
        Entry("migrate", "upgrades the database, as `up` does automatically"),
    ),
    "The scheduler": (
        Entry("replay CYCLE", "plans a recorded cycle again"),
        Entry("plan FILE", "prints the plan of a snapshot; needs no service"),
        Entry("simulate TRACE", "runs a trace of deployments through the planner"),
        *([Entry("bench NAME", "measures the service or the planner")] if _HAS_BENCHMARKS else []),
    ),
}

NAMES = frozenset(entry.name for group in GROUPS.values() for entry in group)

SCALABLE = ("web", "events", "worker", "background", "engines", "beat")
"""The kinds of processes of which `up` runs any number."""

_MOST = 64
_USAGE = 28


def overview() -> str:
    """Return what `manage.py help` prints."""
    lines = [f"{NAME} {VERSION}", "", "Usage: python3 manage.py COMMAND [ARGUMENTS]"]
    for group, entries in GROUPS.items():
        lines += ["", group, *(f"  {e.usage:<{_USAGE}}{e.does}" for e in entries)]
    more = (
        "Name a CLUSTER, a DEPLOYMENT or an ORGANIZATION by its name or its id. `help COMMAND`"
        " shows the options of a command, `help --all` also lists Django's commands, `--version`"
        " prints the version. README.md describes all commands."
    )
    return "\n".join([*lines, "", fill(more, 80)])


def other_commands(names: Iterable[str]) -> str:
    """Return the commands of Django and its packages, which `manage.py help --all` adds."""
    others = ", ".join(sorted(set(names) - NAMES - {"version"}))
    listed = fill(others, 80, initial_indent="  ", subsequent_indent="  ")
    return f"Django and its packages\n{listed}"


def up_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="manage.py up",
        description="Run the whole service on this machine: PostgreSQL, Valkey, the web server, the"
        " workers and beat. Ctrl-C stops everything and loses nothing.",
        epilog="Settings come from the environment or from .env, such as PORT=8001 for another"
        " port, or HYPERVISOR_HOME for another data folder: see README.md.",
    )
    add_scale(parser, "run N processes of this kind instead of one: {kinds}")
    return parser


def add_scale(parser: argparse.ArgumentParser, about: str) -> None:
    """Add the option `--scale KIND=N`, whose value is a list of kinds and numbers."""
    parser.add_argument(
        "--scale", type=_scale, metavar="KIND=N", action="append", default=[],
        help=about.format(kinds=", ".join(SCALABLE)),
    )  # fmt: skip


def _scale(text: str) -> tuple[str, int]:
    kind, _, number = text.partition("=")
    if kind not in SCALABLE or not number.isdecimal() or not 1 <= int(number) <= _MOST:
        kinds = ", ".join(SCALABLE)
        raise argparse.ArgumentTypeError(f"give KIND=N: one of {kinds}, and 1 to {_MOST}")
    return kind, int(number)


def test_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="manage.py test",
        usage="manage.py test [--docker] [--pgbouncer] [--screenshots FOLDER] [PATH ...]"
        " [PYTEST OPTION ...]",
        description="Run the tests, which start their own PostgreSQL and Valkey. All arguments go"
        " to pytest.",
        epilog="pytest's own options, such as -x and -m: .venv/bin/pytest --help",
    )
    parser.add_argument("paths", nargs="*", metavar="PATH", help="run only these files or folders")
    parser.add_argument("-k", metavar="NAME", help="run only tests whose names match")
    parser.add_argument(
        "--docker", action="store_true", help="also run the tests that need a Docker Engine"
    )
    parser.add_argument(
        "--pgbouncer", action="store_true", help="reach PostgreSQL through PgBouncer"
    )
    parser.add_argument("--screenshots", metavar="FOLDER", help="save screenshots of the console")
    return parser
