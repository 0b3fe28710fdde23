"""Log in and out, contexts, tokens."""

from __future__ import annotations

import getpass
import socket
import sys
import warnings
from argparse import Namespace
from urllib.parse import urlsplit

from hypervisor_client.cli.session import Session, id_of, table
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
    with session.connect(url) as client:
        client.call("POST", "/register", body=body)
    _keep(session, given, _with_password(session, url, user, password))


def login(session: Session, given: Namespace) -> None:
    """Get a token for this machine, and keep it as a context."""
    contexts = Contexts.load(session.path)
    url = _address(given.url or contexts.chosen(given.name or session.name).url)
    if given.token_stdin:
        context = Context(url, _line("token").strip())
    else:
        context = _with_password(session, url, *_credentials(given))
    _keep(session, given, context)


def _keep(session: Session, given: Namespace, context: Context) -> None:
    """Check the token, and make the context the current one."""
    contexts, url = Contexts.load(session.path), context.url
    with session.connect(url, context.token) as client:
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
    if given.password_stdin:
        if not given.user:
            raise ClientError("--password-stdin needs the user name: --user NAME")
        return given.user, _line("password")
    try:
        user = given.user or input("User: ")
    except EOFError as error:
        raise ClientError("Give the user name with --user.") from error
    password = _hidden("Password: ")
    if again and _hidden("The same again: ") != password:
        raise ClientError("The two passwords differ.")
    return user, password


def _line(what: str) -> str:
    """Return the first line of the standard input. Raises ClientError if it is empty."""
    if not (text := sys.stdin.readline().rstrip("\r\n")):
        raise ClientError(f"The standard input has no {what}.")
    return text


def _hidden(prompt: str) -> str:
    """Ask for a password. Raises ClientError where it cannot be typed without being shown."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", getpass.GetPassWarning)
            return getpass.getpass(prompt)
    except (EOFError, getpass.GetPassWarning) as error:
        raise ClientError(
            "There is no terminal to ask on: give the password with --password-stdin."
        ) from error


def _with_password(session: Session, url: str, user: str, password: str) -> Context:
    """Exchange a password, which is not kept, for a token with the name of this machine."""
    with session.connect(url) as client:
        pair = client.call("POST", "/token", body={"username": user, "password": password})
    with session.connect(url, pair["access_token"]) as client:
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
            with session.connect(context.url, context.token, patience_s=5) as client:
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
        if not given.name:
            raise ClientError(f"`hv context {given.action}` needs the context's name after it.")
        contexts.chosen(given.name)
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
    elif not given.name:
        raise ClientError(f"`hv token {given.action}` needs the token's name or id after it.")
    elif given.action == "create":
        body = {
            "name": given.name,
            "scopes": given.scope or ["submit"],
            "expires_in_days": _SHORT_DAYS if given.days is None else given.days,
            "organization": given.organization,
        }
        made = session.client.call(
            "POST", "/tokens", body={k: v for k, v in body.items() if v is not None}
        )
        session.note("This token is shown only now:")
        session.show(made, made["token"])
    else:
        number = id_of(given.name, "token", "hv token")
        session.client.call("DELETE", f"/tokens/{number}")
        session.note(f"Token {number} is revoked.")
