"""Make, find and revoke API tokens."""

import hashlib
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import structlog
from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from accounts.authentication import Further
from accounts.models import User
from hypervisor.base import bounds, purging
from hypervisor.base.bounds import Bound
from hypervisor.base.errors import Invalid
from hypervisor.base.prepared import Prepared, ReadAhead, Together
from orgs.events import record
from orgs.models import ApiToken, Organization, ServiceAccount
from orgs.tokens.grants import Scope, grant_of

PREFIX = "hv_"
"""The beginning of every token, by which callers, proxies and scanners for secrets recognize it."""

DEFAULT_DAYS = 90

EXPIRED_DAYS = 30
"""How long an expired token is listed, so that its user finds out why a program was refused."""

_SHOWN = len(PREFIX) + 6
_USE_INTERVAL = timedelta(minutes=1)

_by_digest = Prepared(
    lambda digest: ApiToken.objects.filter(digest=digest).select_related("user"), related="user"
)


def _user_of(digest: str) -> "QuerySet[ApiToken, Any]":
    return ApiToken.objects.filter(digest=digest).values("user")[:1]


@cache
def reading_token(further: Further) -> Together:
    """Return what reads the token with a digest and its user, and with the user these queries."""
    return Together(_by_digest, *(query.of(_user_of) for query in further), takes=(str,))


log = structlog.get_logger(__name__)


@transaction.atomic
def create(
    user: User,
    *,
    name: str,
    scope: Scope,
    organization: Organization | None = None,
    days: int | None = None,
    account: ServiceAccount | None = None,
) -> tuple[ApiToken, str]:
    """Make a token that is valid for `days` days; return it with its text, which is not stored.

    It is for the user, or for a service account, in whose organization it is valid. Raises Invalid
    if it would be valid for too long, Conflict if there are too many.
    """
    now = timezone.now()
    owner = account.user if account else user
    bounds.check([_bound(owner, now)])
    text = PREFIX + secrets.token_urlsafe(32)
    token = ApiToken.objects.create(
        user=owner,
        organization=account.organization if account else organization,
        name=name,
        scope=scope,
        digest=_digest(text),
        start=text[:_SHOWN],
        created_at=now,
        expires_at=_end(user, days, now),
    )
    _record(token, "created", user.username)
    return token, text


def find(text: str, now: datetime, *, further: Further = ()) -> ApiToken | None:
    """Return the token with its user, None if it is unknown, revoked or expired.

    The user has what the further queries read.
    """
    found, *read = reading_token(further)(_digest(text))
    token: ApiToken | None = found[0] if found else None
    if token is None or token.expires_at <= now:
        return None
    token.user.read_ahead = ReadAhead(dict(zip(further, read, strict=True)))
    return token


def record_use(token: ApiToken, now: datetime) -> None:
    """Record that the token is used now, unless that was recorded within the last minute.

    The call goes on whatever happens: a row that another transaction has locked is left alone, and
    a database that accepts no writes is no reason to refuse a read.
    """
    if token.last_used_at is not None and now - token.last_used_at < _USE_INTERVAL:
        return
    sql = """
        UPDATE orgs_apitoken SET last_used_at = %(now)s WHERE id = (
            SELECT id FROM orgs_apitoken WHERE id = %(id)s FOR NO KEY UPDATE SKIP LOCKED
        )
    """
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(sql, {"now": now, "id": token.pk})
    except DatabaseError as error:
        log.warning("token_use_not_recorded", token=token.pk, error=str(error))


@transaction.atomic
def revoke(tokens: Iterable[ApiToken], *, actor: str) -> int:
    """Delete the tokens: from now on, they are refused. Returns how many there were."""
    found = ApiToken.objects.filter(pk__in=[token.pk for token in tokens])
    for token in found.select_related("user__service_account"):
        _record(token, "revoked", actor)
    return found.delete()[0]


def revoke_all(user: User) -> None:
    """Revoke every token of the user."""
    user.api_tokens.all().delete()


def purge(now: datetime) -> int:
    """Delete the tokens that expired long ago; return how many."""
    before = now - timedelta(days=EXPIRED_DAYS)
    return purging.purge(ApiToken.objects.all(), "expires_at", before, order="expires_at")


def _record(token: ApiToken, done: str, actor: str) -> None:
    """Record an event of the organization if the token is for one of its service accounts."""
    if token.user.is_service and token.organization is not None:
        account = token.user.service_account
        reason = f"Token {token.name} of the service account {account.name} was {done}."
        data = {"service_account": account.pk, "token": token.pk}
        record(token.organization, f"token_{done}", actor, reason, data)


def _digest(text: str) -> str:
    # A token has 256 random bits, so there is nothing that a slow hash would protect.
    return hashlib.sha256(text.encode()).hexdigest()


def _end(user: User, days: int | None, now: datetime) -> datetime:
    """Return when a new token expires: no token outlives the one that it is made with."""
    most: int = settings.TOKEN_MAX_DAYS
    if days is not None and days > most:
        raise Invalid(
            f"A token is valid for at most {most} days (TOKEN_MAX_DAYS): give a smaller number.",
            attr="expires_in_days",
        )
    end = now + timedelta(days=min(DEFAULT_DAYS, most) if days is None else days)
    grant = grant_of(user)
    if grant is None or end <= grant.expires_at:
        return end
    if days is not None:
        raise Invalid(
            f"The token that you use expires at {grant.expires_at:%Y-%m-%d %H:%M} UTC, and cannot"
            " make one that is valid for longer: log in, or give a smaller number.",
            attr="expires_in_days",
        )
    return grant.expires_at


def _bound(user: User, now: datetime) -> Bound:
    return Bound(
        "MAX_TOKENS_PER_USER",
        user.pk,
        ApiToken.objects.filter(user=user, expires_at__gt=now),
        lambda there, bound: (
            f"{user.username} has {there} tokens, and a user may have no more than {bound}: revoke"
            " one."
        ),
    )
