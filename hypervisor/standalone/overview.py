"""What `manage.py` can do, said before anything is installed: the standard library is enough."""

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from textwrap import fill

from hypervisor.standalone.bootstrap import ROOT
from hypervisor.version import NAME, VERSION


@dataclass(frozen=True, slots=True)
class Entry:
    """A command with its arguments, and what it does in a few words."""

    usage: str
    does: str

    @property
    def name(self) -> str:
        return self.usage.partition(" ")[0]


_HAS_BENCHMARKS = (ROOT / "benchmarks").is_dir()
"""The image leaves them out."""

GROUPS: dict[str, tuple[Entry, ...]] = {
    "Run the service": (
        Entry("up", "runs the whole service on this machine"),
        Entry("status", "says what works, how full it is, and what waits"),
        Entry("demo", "fills a running service with a believable company"),
        Entry("test", "runs the tests; arguments go to pytest"),
    ),
    "Deployments": (
        Entry("explain DEPLOYMENT", "says why a deployment is where it is"),
        Entry("logs DEPLOYMENT", "prints what a deployment's container wrote"),
        Entry("schedule", "runs a scheduling cycle, or shows what it would do"),
    ),
    "Clusters and their engines": (
        Entry("connect_cluster CLUSTER", "connects a cluster to its engine"),
        Entry("disconnect_cluster CLUSTER", "disconnects an empty cluster from its engine"),
        Entry("declare_lost CLUSTER", "gives up a cluster whose engine does not answer"),
        Entry("claim_engine CLUSTER", "takes over an engine after a restore"),
    ),
    "Operation": (
        Entry("verify", "looks for contradictions in database and engines"),
        Entry("rotate_credentials", "encrypts all secrets with the newest key"),
        Entry("createsuperuser", "adds an operator, who may log in to the admin"),
        Entry("migrate", "brings the database to this release, as `up` does"),
    ),
    "The scheduler itself": (
        Entry("replay CYCLE", "plans a recorded cycle again"),
        Entry("plan FILE", "prints the plan of a snapshot; needs no service"),
        Entry("simulate TRACE", "plays a trace of deployments through the planner"),
        *([Entry("bench NAME", "measures the service or the planner")] if _HAS_BENCHMARKS else []),
    ),
}

NAMES = frozenset(entry.name for group in GROUPS.values() for entry in group)

_USAGE = 28


def overview() -> str:
    """Return what `manage.py help` prints."""
    lines = [f"{NAME} {VERSION}", "", "Usage: python3 manage.py COMMAND [ARGUMENTS]"]
    for group, entries in GROUPS.items():
        lines += ["", group, *(f"  {e.usage:<{_USAGE}}{e.does}" for e in entries)]
    more = (
        "A CLUSTER, a DEPLOYMENT or an ORGANIZATION is named by its name or its id."
        " `help COMMAND` shows a command's options, `help --all` also lists Django's own commands,"
        " `--version` prints the version. README.md has it all."
    )
    return "\n".join([*lines, "", fill(more, 80)])


def djangos(names: Iterable[str]) -> str:
    """Return what `manage.py help --all` adds: the commands that are not the product's."""
    others = ", ".join(sorted(set(names) - NAMES - {"version"}))
    listed = fill(others, 80, initial_indent="  ", subsequent_indent="  ")
    return f"Django and its packages\n{listed}"


def up_parser() -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog="manage.py up",
        description="Run the whole service on this machine: PostgreSQL, Valkey, the web server, the"
        " workers and beat. Ctrl-C stops all of it and loses nothing.",
        epilog="Settings come from the environment or from .env, such as PORT=8001 for another"
        " port, or HYPERVISOR_HOME for another folder of data: see README.md.",
    )


def test_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="manage.py test",
        usage="manage.py test [--docker] [--screenshots FOLDER] [PATH ...] [PYTEST OPTION ...]",
        description="Run the tests, on a PostgreSQL and a Valkey of their own. All arguments go to"
        " pytest.",
        epilog="pytest's own options, such as -x and -m: .venv/bin/pytest --help",
    )
    parser.add_argument("paths", nargs="*", metavar="PATH", help="only these files or folders")
    parser.add_argument("-k", metavar="NAME", help="only tests whose names match")
    parser.add_argument(
        "--docker", action="store_true", help="also the tests that need a Docker Engine"
    )
    parser.add_argument("--screenshots", metavar="FOLDER", help="keep pictures of the pages")
    return parser
