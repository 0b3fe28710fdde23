"""What a person has open: sessions of browsers and log-ins to the API."""

from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.contrib.sessions.backends.base import SessionBase
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from accounts.models import BrowserSession, TokenFamily, User
from accounts.sessions.engine import digest
from hypervisor.base import purging
from hypervisor.base.errors import NotFound

_RECENT = timedelta(minutes=10)

log = structlog.get_logger(__name__)


def open_sessions(user: User) -> "QuerySet[BrowserSession]":
    """Return the user's sessions that have not expired, the one used last first."""
    rows = BrowserSession.objects.filter(user=user, expire_date__gt=timezone.now())
    return rows.order_by("-seen_at", "pk")


def open_log_ins(user: User) -> "QuerySet[TokenFamily]":
    """Return the user's log-ins to the API that have not expired, the newest first."""
    rows = user.token_families.filter(expires_at__gt=timezone.now())
    return rows.order_by("-issued_at", "pk")


def is_recent(session: SessionBase) -> bool:
    """Return whether the person has signed in to this session only minutes ago."""
    since = timezone.now() - _RECENT
    pk = digest(session.session_key or "")
    return BrowserSession.objects.filter(pk=pk, created_at__gte=since).exists()


@transaction.atomic
def end_session(user: User, pk: str) -> None:
    """End one session of the user. Raises NotFound if there is none with this id."""
    # PostgreSQL accepts no text with a NUL.
    if "\0" in pk or not BrowserSession.objects.filter(user=user, pk=pk).delete()[0]:
        raise NotFound("This session has ended already.")
    log.info("session_ended", user=user.username)


@transaction.atomic
def end_log_in(user: User, pk: str) -> None:
    """End one log-in to the API. Raises NotFound if the user has none with this id."""
    try:
        rows = user.token_families.filter(pk=UUID(pk))
    except ValueError:
        rows = user.token_families.none()
    if not rows.delete()[0]:
        raise NotFound("This log-in has ended already.")
    log.info("log_in_ended", user=user.username)


@transaction.atomic
def end_others(user: User, *, session_key: str | None) -> int:
    """End all sessions but the one with this key, and all log-ins to the API.

    Returns how many ended.
    """
    sessions = BrowserSession.objects.filter(user=user).exclude(pk=digest(session_key or ""))
    ended = sessions.delete()[0] + user.token_families.all().delete()[0]
    log.info("other_sessions_ended", user=user.username, ended=ended)
    return ended


def purge(now: datetime) -> int:
    """Delete the expired sessions. Returns the number of deleted rows."""
    rows = BrowserSession.objects.all()
    return purging.purge(rows, "expire_date", now, order="expire_date")
