"""Webhooks, and what became of their messages."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Callable

from hypervisor_client.api import JSON, Client
from hypervisor_client.cli.amounts import ago, counted
from hypervisor_client.cli.session import Session, id_of, table
from hypervisor_client.errors import ClientError

_TEST_S, _LOOK_S = 60.0, 0.5
"""How long to wait for the outcome of a test, and how often to look for it."""


def webhooks(session: Session, given: Namespace) -> None:
    if given.action == "list":
        _list(session)
        return
    if not given.webhook:
        what = "a URL" if given.action == "add" else "the id of a webhook"
        raise ClientError(f"`hv webhooks {given.action}` needs {what} after it.")
    if given.action != "add":
        id_of(given.webhook, "webhook", "hv webhooks")
    _ACTIONS[given.action](session, given)


def _list(session: Session) -> None:
    rows = list(session.client.rows("/webhooks"))
    cells = [
        (w["id"], w["url"], _state(w), ",".join(w["kinds"]) or "all", _since(w["delivered_at"]))
        for w in rows
    ]
    titles = ("ID", "URL", "STATE", "KINDS", "DELIVERED")
    session.show(rows, table(titles, cells) if rows else "There is no webhook yet.")


def _state(webhook: JSON) -> str:
    if not webhook["enabled"]:
        return "disabled"
    return "failing" if webhook["failures"] else "working"


def _since(time_text: str | None) -> str:
    return ago(time_text) if time_text else "never"


def _add(session: Session, given: Namespace) -> None:
    body = {
        "url": given.webhook,
        "kinds": given.kind,
        "description": given.description,
        "organization": given.organization,
    }
    wanted = {name: value for name, value in body.items() if value is not None}
    _show_secret(session, session.client.call("POST", "/webhooks", body=wanted))


def _rotate(session: Session, given: Namespace) -> None:
    body = {} if given.keep_hours is None else {"keep_hours": given.keep_hours}
    _show_secret(session, session.client.call("POST", _path(given, "/rotate"), body=body))


def _show_secret(session: Session, webhook: JSON) -> None:
    if webhook["secret"] is None:
        raise ClientError(
            f"The connection broke while the secret was on its way: hv webhooks rotate"
            f" {webhook['id']}"
        )
    session.note(f"The secret of webhook {webhook['id']} is shown only now:")
    session.show(webhook, webhook["secret"])


def _change(session: Session, given: Namespace) -> None:
    enabled = given.action == "enable"
    session.client.call("PATCH", _path(given), body={"enabled": enabled})
    session.note(f"Webhook {given.webhook} is {given.action}d.")


def _delete(session: Session, given: Namespace) -> None:
    session.client.call("DELETE", _path(given))
    session.note(f"Webhook {given.webhook} is deleted.")


def _test(session: Session, given: Namespace) -> None:
    """Send a test, wait for its outcome, and fail if it was not delivered."""
    sent = session.client.call("POST", _path(given, "/test"))
    found = _outcome(session.client, _path(given, f"/deliveries/{sent['id']}"))
    if found["status"] != "delivered":
        raise ClientError(f"The test was not delivered. {found['error']}")
    session.show(found, f"Delivered: the receiver answered with {found['response_status']}.")


def _outcome(client: Client, path: str) -> JSON:
    ends = time.monotonic() + _TEST_S
    while True:
        found: JSON = client.call("GET", path)
        if found["status"] != "scheduled":
            return found
        if time.monotonic() > ends:
            raise ClientError(f"The test was not sent within {_TEST_S:.0f} s: see GET {path}.")
        time.sleep(_LOOK_S)


def _deliveries(session: Session, given: Namespace) -> None:
    params = {"status": given.status, "ordering": "-id"}
    wanted = {name: value for name, value in params.items() if value}
    rows = list(session.client.rows(_path(given, "/deliveries"), wanted, limit=given.limit))
    cells = [
        (d["id"], d["number"] or "-", d["kind"], d["status"], d["attempts"], d["error"] or "-")
        for d in rows
    ]
    titles = ("ID", "EVENT", "KIND", "STATUS", "ATTEMPTS", "LAST ERROR")
    session.show(rows, table(titles, cells) if rows else "Nothing to list.")


def _replay(session: Session, given: Namespace) -> None:
    if given.delivery is not None:
        path = _path(given, f"/deliveries/{given.delivery}/replay")
        session.show(session.client.call("POST", path), f"Delivery {given.delivery} is sent again.")
        return
    bounds = {name: getattr(given, name) for name in ("after", "before", "since", "until")}
    body = {name: value for name, value in bounds.items() if value is not None} or {"after": 0}
    answer = session.client.call(
        "POST", _path(given, "/replay"), body={**body, "only_failed": not given.all}
    )
    session.show(answer, f"{counted(answer['scheduled'], 'message')} will be sent again.")


def _path(given: Namespace, rest: str = "") -> str:
    return f"/webhooks/{given.webhook}{rest}"


_ACTIONS: dict[str, Callable[[Session, Namespace], None]] = {
    "add": _add,
    "rotate": _rotate,
    "enable": _change,
    "disable": _change,
    "delete": _delete,
    "test": _test,
    "deliveries": _deliveries,
    "replay": _replay,
}
