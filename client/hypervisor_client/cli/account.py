"""Log in and out, contexts, tokens."""

from __future__ import annotations

import getpass
import socket
import sys
from argparse import Namespace
from urllib.parse import urlsplit

from hypervisor_client.api import Client
from hypervisor_client.cli.session import Session, table
from hypervisor_client.contexts import Context, Contexts
from hypervisor_client.errors import ApiError, ClientError

_DAYS = 90
_SHORT_DAYS = 30
"""Of a token that `hv` makes for others: it cannot be valid for longer than that of `hv` itself."""


def register(session: Session, given: Namespace) -> None:
    """Create a user, and log in."""
    url = _address(given.url)
    user, password = _credentials(given, again=True)
    body = {"username": user, "password": password, "invite_code": given.invite}
    with Client(url) as client:
        client.call("POST", "/register", body=body)
    _keep(session, given, _with_password(url, user, password))


def login(session: Session, given: Namespace) -> None:
    """Get a token for this machine, and keep it as a context."""
    contexts = Contexts.load(session.path)
    url = _address(given.url or contexts.chosen(given.name or session.name).url)
    if given.token_stdin:
        context = Context(url, sys.stdin.readline().strip())
    else:
        context = _with_password(url, *_credentials(given))
    _keep(session, given, context)


def _keep(session: Session, given: Namespace, context: Context) -> None:
    """Check the token, and make the context the current one."""
    contexts, url = Contexts.load(session.path), context.url
    with Client(url, context.token) as client:
        user = client.me()["username"]
    name = given.name or session.name or urlsplit(url).netloc
    contexts.known[name] = Context(url, context.token, context.token_id, user)
    contexts.current = name
    contexts.save(session.path)
    session.note(f"You are {user} at {url} (context {name}).")


def _address(text: str) -> str:
    text = text.rstrip("/")
    return text if "://" in text else f"https://{text}"


def _credentials(given: Namespace, *, again: bool = False) -> tuple[str, str]:
    """Return the user name and the password, which is asked for twice if it is a new one."""
    user = given.user or input("User: ")
    if given.password_stdin:
        return user, sys.stdin.readline().rstrip("\r\n")
    password = getpass.getpass("Password: ")
    if again and getpass.getpass("The same again: ") != password:
        raise ClientError("The two passwords differ.")
    return user, password


def _with_password(url: str, user: str, password: str) -> Context:
    """Exchange a password, which is not kept, for a token with the name of this machine."""
    with Client(url) as client:
        pair = client.call("POST", "/token", body={"username": user, "password": password})
    with Client(url, pair["access_token"]) as client:
        body = {"name": f"hv on {socket.gethostname()}"[:100], "scopes": ["admin"]}
        made = client.call("POST", "/tokens", body={**body, "expires_in_days": _DAYS})
        client.call("POST", "/token/revoke", body={"refresh_token": pair["refresh_token"]})
    if made["token"] is None:
        raise ClientError("The connection broke while the token was on its way: log in again.")
    return Context(url, made["token"], made["id"])


def logout(session: Session, given: Namespace) -> None:
    """Revoke the token of the context, unless it came from elsewhere, and forget the context."""
    contexts = Contexts.load(session.path)
    context = contexts.chosen(session.name)
    name = next(name for name, known in contexts.known.items() if known is context)
    if context.token_id is not None:
        try:
            with Client(context.url, context.token, patience_s=5) as client:
                client.call("DELETE", f"/tokens/{context.token_id}")
        except ApiError as error:
            if error.status not in (401, 404):
                raise
    del contexts.known[name]
    contexts.current = "" if contexts.current == name else contexts.current
    contexts.save(session.path)
    session.note(f"Logged out of {context.url}.")


def whoami(session: Session, given: Namespace) -> None:
    me = session.client.me()
    roles = [
        (m["organization"]["id"], m["organization"]["name"], m["role"]) for m in me["memberships"]
    ]
    text = f"{me['username']} at {session.client.transport.url}"
    session.show(me, f"{text}\n\n{table(('ORGANIZATION', 'NAME', 'ROLE'), roles)}")


def context(session: Session, given: Namespace) -> None:
    contexts = Contexts.load(session.path)
    if given.action != "list":
        contexts.chosen(given.name or "")
        if given.action == "use":
            contexts.current = given.name
        else:
            del contexts.known[given.name]
            contexts.current = "" if contexts.current == given.name else contexts.current
        contexts.save(session.path)
    rows = [
        ("*" if name == contexts.current else "", name, known.url, known.user)
        for name, known in sorted(contexts.known.items())
    ]
    shown = [{"name": name, "url": url, "user": user} for _, name, url, user in rows]
    session.show(shown, table(("", "NAME", "ADDRESS", "USER"), rows))


def token(session: Session, given: Namespace) -> None:
    if given.action == "list":
        rows = list(session.client.rows("/tokens"))
        cells = [
            (r["id"], r["name"], ",".join(r["scopes"]), r["expires_at"], r["last_used_at"])
            for r in rows
        ]
        session.show(rows, table(("ID", "NAME", "SCOPES", "EXPIRES", "LAST USED"), cells))
    elif given.name is None:
        raise ClientError(f"`hv token {given.action}` needs the token's name or id after it.")
    elif given.action == "create":
        body = {
            "name": given.name,
            "scopes": given.scope or ["submit"],
            "expires_in_days": given.days or _SHORT_DAYS,
            "organization": given.organization,
        }
        made = session.client.call(
            "POST", "/tokens", body={k: v for k, v in body.items() if v is not None}
        )
        session.note("This token is shown only now:")
        session.show(made, made["token"])
    else:
        session.client.call("DELETE", f"/tokens/{given.name}")
        session.note(f"Token {given.name} is revoked.")
