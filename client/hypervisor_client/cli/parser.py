"""The commands of `hv` with their options; what they do is imported when one of them runs."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from importlib import import_module
from typing import Any

from hypervisor_client.cli import values
from hypervisor_client.cli.values import amount, count, positive, seconds
from hypervisor_client.version import VERSION

_DESCRIPTION = """\
Submit work to shared GPU clusters, see why it waits, and follow it.

A deployment is given by its id or by its name. If several have the name, the one that has not
ended is meant.
"""
_EPILOG = """\
environment:
  HV_URL, HV_TOKEN   the service and the token to use instead of a context
  HV_CONTEXT         the context to use instead of the current one
  HV_CONFIG          the file with the contexts

exit codes: 0; 1 for an error; 2 for wrong usage. `wait` and `submit --wait` end with the code of
the container, or with 125 if the deployment was stopped or cancelled, or could not start.
"""


def build() -> argparse.ArgumentParser:
    """Return the parser. Each command sets `carry_out`, which takes the session and arguments."""
    parser = argparse.ArgumentParser(
        prog="hv", description=_DESCRIPTION, epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"hv {VERSION}")
    parser.add_argument(
        "--context", metavar="NAME", default=os.environ.get("HV_CONTEXT") or None,
        help="the service to use, by the name of its context",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the service's answer as JSON")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for add in (_account, _submission, _lists, _single, _supply, _webhooks, _shell):
        add(_Adder(commands))
    return parser


class _Adder:
    """Adds commands; both `--json` and `--context` may also follow the command's name."""

    def __init__(self, commands: Any) -> None:
        self._commands = commands

    def __call__(self, name: str, where: str, text: str, **named: Any) -> argparse.ArgumentParser:
        """Add a command that the function `where` ("module.function") carries out."""
        parser: argparse.ArgumentParser = self._commands.add_parser(
            name, help=text, description=text[0].upper() + text[1:] + ".", **named
        )
        parser.add_argument("--json", action="store_true", default=argparse.SUPPRESS,
                            help=argparse.SUPPRESS)  # fmt: skip
        parser.add_argument("--context", metavar="NAME", default=argparse.SUPPRESS,
                            help=argparse.SUPPRESS)  # fmt: skip
        parser.set_defaults(carry_out=_later(where))
        return parser


def _later(where: str) -> Callable[..., Any]:
    module, _, function = where.partition(".")

    def run(*arguments: Any) -> Any:
        found = import_module(f"hypervisor_client.cli.{module}")
        return getattr(found, function)(*arguments)

    return run


def _account(add: _Adder) -> None:
    login = add("login", "account.login", "log in to a service and make it the current context")
    login.add_argument("url", nargs="?", help="the service's address; default: of the context")
    login.add_argument("--user", help="your user name; default: ask")
    login.add_argument("--name", help="the context's name; default: the host of the address")
    login.add_argument(
        "--password-stdin", action="store_true", help="read the password from the standard input"
    )
    login.add_argument(
        "--token-stdin", action="store_true", help="read an API token from the standard input"
    )
    register = add("register", "account.register", "create a user at a service, and log in")
    register.add_argument("url", help="the service's address")
    register.add_argument("--user", help="the user name; default: ask")
    register.add_argument("--invite", metavar="CODE", help="an organization's invite code")
    register.add_argument("--name", help="the context's name; default: the host of the address")
    register.add_argument(
        "--password-stdin", action="store_true", help="read the password from the standard input"
    )
    register.set_defaults(token_stdin=False)
    add("logout", "account.logout", "revoke the token of the context and forget it")
    add("whoami", "account.whoami", "show who you are, and your roles")
    context = add("context", "account.context", "list the contexts, use one or remove one")
    context.add_argument("action", nargs="?", choices=("list", "use", "remove"), default="list")
    context.add_argument("name", nargs="?")
    token = add("token", "account.token", "list, create or revoke API tokens")
    token.add_argument("action", nargs="?", choices=("list", "create", "revoke"), default="list")
    token.add_argument("name", nargs="?", help="of the new token; the id of one to revoke")
    token.add_argument(
        "--scope", action="append", choices=("read", "submit", "admin"), help="default: submit"
    )
    token.add_argument("--days", type=positive, help="how long it is valid; default: 30")
    token.add_argument("--organization", type=positive, help="the only organization it is valid in")


def _submission(add: _Adder) -> None:
    submit = add("submit", "submission.submit", "submit a deployment")
    submit.add_argument(
        "file", nargs="?", help="a YAML or JSON file with the fields of a deployment, `-` for the"
        " standard input; options change single fields",
    )  # fmt: skip
    submit.add_argument("--name", help="default: of the image")
    submit.add_argument("--image")
    submit.add_argument("--cpu", type=amount, help="cores, such as 4 or 500m; default: 1")
    submit.add_argument("--ram", type=amount, help="MiB, or an amount such as 16Gi; default: 1Gi")
    submit.add_argument("--gpu", type=count, help="whole devices; default: 0")
    submit.add_argument("--priority", type=int, help="1 to 100; default: 50")
    submit.add_argument("--env", action="append", metavar="NAME=VALUE", help="may be repeated")
    submit.add_argument(
        "--secret", action="append", metavar="NAME[=VALUE]",
        help="a variable that is never shown again; without a value, that of the environment",
    )  # fmt: skip
    submit.add_argument(
        "--require", action="append", metavar="LABEL=VALUE[,VALUE]", help="labels of its node"
    )
    submit.add_argument("--label", action="append", metavar="NAME=VALUE", help="may be repeated")
    submit.add_argument(
        "--array", type=positive, metavar="SIZE",
        help="submit this many equal deployments, numbered by HV_INDEX; print the id of the array",
    )  # fmt: skip
    submit.add_argument(
        "--at-once",
        type=positive,
        metavar="NUMBER",
        help="how many of the array are active at once",
    )
    submit.add_argument("--cluster", help="the only cluster that it may run on: id or name")
    submit.add_argument("--organization", type=positive, help="needed by members of several")
    submit.add_argument("--max-runtime", type=positive, metavar="SECONDS")
    submit.add_argument("--restart", type=count, metavar="TIMES", help="restart after a failure")
    submit.add_argument("--after", action="append", metavar="DEPLOYMENT", help="wait for it first")
    submit.add_argument("--wait", action="store_true", help="wait until it has ended")
    submit.add_argument("--logs", action="store_true", help="show its output; implies --wait")
    submit.add_argument("--dry-run", action="store_true", help="only show what would happen")
    submit.epilog = (
        "The container's command follows `--`: hv submit --image ml/train:1 -- python train.py"
    )
    wait = add("wait", "submission.wait", "wait until deployments have ended")
    wait.add_argument("deployments", nargs="*", metavar="DEPLOYMENT")
    _selection(wait)
    wait.add_argument("--timeout", type=seconds, metavar="SECONDS")
    wait.add_argument("--until", metavar="STATUS", choices=("starting", "running"),
                      help="wait only until they are `starting` or `running`")  # fmt: skip


def _lists(add: _Adder) -> None:
    ps = add("ps", "lists.ps", "list deployments that have not ended")
    ps.add_argument("--all", action="store_true", help="also those that have ended")
    ps.add_argument("--mine", action="store_true", help="only your own")
    ps.add_argument("--status", action="append")
    ps.add_argument("--name", help="a part of the name")
    _selection(ps)
    ps.add_argument("--limit", type=positive, default=50, help="default: %(default)s")
    arrays = add("arrays", "groups.arrays", "list arrays with their progress, the newest first")
    arrays.add_argument("--limit", type=positive, default=20, help="default: %(default)s")
    queue = add("queue", "lists.queue", "list what waits, the highest priority first")
    queue.add_argument("--limit", type=positive, default=50, help="default: %(default)s")


def _single(add: _Adder) -> None:
    for name, where, text in (
        ("show", "single.show", "show a deployment"),
        ("explain", "single.explain", "explain why a deployment has its status, or waits"),
    ):
        add(name, where, text).add_argument("deployment", metavar="DEPLOYMENT")
    events = add("events", "single.events", "show the history of a deployment, or follow events")
    events.add_argument("deployment", nargs="?", metavar="DEPLOYMENT")
    events.add_argument("-f", "--follow", action="store_true", help="show events as they happen")
    events.add_argument("--after", type=count, help="with -f: begin after the event of this number")
    events.add_argument("--kinds", help="with -f: only these kinds, separated by commas")
    events.add_argument("--organization", type=positive, help="needed by members of several")
    logs = add("logs", "single.logs", "show the output of a deployment")
    logs.add_argument("deployment", metavar="DEPLOYMENT")
    logs.add_argument("-f", "--follow", action="store_true", help="until its run ends")
    logs.add_argument("--tail", help="how many of the last lines, or `all`; default: 1000")
    logs.add_argument("--run", type=positive, help="an earlier run, by its id in the events")
    for verb, text in (
        (
            "stop",
            "stop what is starting or running; with --label or --array, cancel also what waits",
        ),
        ("cancel", "take pending deployments out of the queue"),
        ("hold", "put pending deployments on hold"),
        ("release", "let held deployments compete again"),
        ("start", "queue ended deployments again"),
    ):
        many = add(verb, "single.each", text)
        many.add_argument("deployments", nargs="*", metavar="DEPLOYMENT")
        _group(many)
    delete = add("delete", "single.each", "delete pending or ended deployments")
    delete.add_argument("deployments", nargs="+", metavar="DEPLOYMENT")
    _dry_run(delete)
    priority = add("priority", "single.priority", "change the priority of deployments")
    priority.add_argument("deployment", nargs="?", metavar="DEPLOYMENT")
    priority.add_argument("priority", type=int, help="1 to 100")
    _group(priority)
    limit = add(
        "limit", "groups.limit", "change how many elements of an array may be active at once"
    )
    limit.add_argument("at_once", type=values.limit, metavar="NUMBER", help="from 1, or `none`")
    limit.add_argument("--array", type=positive, metavar="ID", required=True, help="the array")
    _dry_run(limit)
    _group(add("retry", "groups.retry", "queue the failed deployments of a group again"))


def _group(parser: argparse.ArgumentParser) -> None:
    _selection(parser)
    _dry_run(parser)


def _selection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--label", action="append", metavar="NAME[=VALUE]",
        help="all that have this label; may be repeated",
    )  # fmt: skip
    parser.add_argument("--array", type=positive, metavar="ID", help="the elements of this array")


def _supply(add: _Adder) -> None:
    add("clusters", "supply.clusters", "list clusters with what is free")
    for verb, text in (
        ("cordon", "place nothing new on a cluster or a node"),
        ("uncordon", "place deployments on a cluster or a node again"),
        ("drain", "move or requeue what runs on a cluster or a node"),
    ):
        _of_supply(add(verb, "supply.change", text))
    resize = add(
        "resize", "supply.change", "change the capacity of a cluster with one node, or of a node"
    )
    _of_supply(resize)
    resize.add_argument("--cpu", type=amount, help="cores, such as 64")
    resize.add_argument("--ram", type=amount, help="MiB, or an amount such as 256Gi")
    resize.add_argument("--gpu", type=count, help="whole devices")
    add("usage", "supply.usage", "show who has how much of the clusters")


def _of_supply(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("cluster", metavar="CLUSTER", help="its id or its name")
    parser.add_argument("--node", help="the node of the cluster: its id or its name")
    _dry_run(parser)


def _webhooks(add: _Adder) -> None:
    hooks = add("webhooks", "webhooks.webhooks", "send events to an address, and see what failed")
    hooks.add_argument(
        "action", nargs="?", default="list",
        choices=("list", "add", "test", "rotate", "enable", "disable", "delete", "deliveries",
                 "replay"),
    )  # fmt: skip
    hooks.add_argument("webhook", nargs="?", help="its id; with `add`, the URL")
    hooks.add_argument("--kind", action="append", help="add: only such events; may be repeated")
    hooks.add_argument("--description", help="add: for people")
    hooks.add_argument("--organization", type=positive, help="add: needed by members of several")
    hooks.add_argument(
        "--keep-hours",
        type=count,
        help="rotate: how long the former secret also signs; default: 24",
    )
    hooks.add_argument(
        "--status", choices=("failed", "scheduled", "delivered"), help="deliveries: only these"
    )
    hooks.add_argument("--limit", type=positive, default=50, help="deliveries: default %(default)s")
    hooks.add_argument("--delivery", type=positive, metavar="ID", help="replay: only this one")
    hooks.add_argument("--after", type=count, help="replay: events after this number")
    hooks.add_argument("--before", type=count, help="replay: events before this number")
    hooks.add_argument("--since", metavar="TIME", help="replay: events from this time on")
    hooks.add_argument("--until", metavar="TIME", help="replay: events before this time")
    hooks.add_argument("--all", action="store_true", help="replay: also what was delivered")


def _dry_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="only show what would happen, and to which deployments",
    )


def _shell(add: _Adder) -> None:
    api = add("api", "single.api", "make any call of the API")
    api.add_argument("method", type=str.upper, choices=("GET", "POST", "PATCH", "PUT", "DELETE"))
    api.add_argument("path", help="such as /organizations, with the query if there is one")
    api.add_argument("body", nargs="?", help="JSON; `-` for the standard input")
    completion = add("completion", "completion.script", "print the completion for a shell")
    completion.add_argument("shell", choices=("bash", "zsh", "fish"))
    add("schema", "submission.schema", "print the JSON Schema of the files that `submit` takes")
