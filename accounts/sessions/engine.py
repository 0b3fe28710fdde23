"""The sessions of browsers in the database: `SESSION_ENGINE`.

Only a digest of a session's key is stored, so that a copy of the database opens no session. A
session ends after `SESSION_MAX_HOURS`, and after `SESSION_IDLE_MINUTES` without a request.
"""

from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import structlog
from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.base import CreateError, SessionBase, UpdateError
from django.db import DatabaseError, IntegrityError, transaction
from django.utils import timezone

from accounts.models import BrowserSession

log = structlog.get_logger(__name__)

_SEEN_EVERY = timedelta(minutes=1)
"""How often the time of the last request is written at most."""


def digest(key: str) -> str:
    """Return what is stored of a session's key."""
    return sha256(key.encode()).hexdigest()


class SessionStore(SessionBase):
    """One session; `address` and `browser` are those of the request, and None outside of one."""

    address: str | None = None
    browser: str = ""

    def exists(self, session_key: str) -> bool:
        return BrowserSession.objects.filter(pk=digest(session_key)).exists()

    def create(self) -> None:
        while True:
            self._session_key = self._get_new_session_key()  # type: ignore[attr-defined]
            try:
                self.save(must_create=True)
            except CreateError:
                continue
            self.modified = True
            return

    def save(self, must_create: bool = False) -> None:
        """Store the session. Raises CreateError if the key is in use, UpdateError if it ended."""
        if self.session_key is None:
            self.create()
            return
        data = self._get_session(no_load=must_create)  # type: ignore[attr-defined]
        values = {"session_data": self.encode(data), "user_id": data.get(SESSION_KEY)}
        if must_create:
            self._insert(values)
        elif not BrowserSession.objects.filter(pk=digest(self.session_key)).update(**values):
            raise UpdateError

    def delete(self, session_key: str | None = None) -> None:
        key = session_key or self.session_key
        if key is not None:
            BrowserSession.objects.filter(pk=digest(key)).delete()

    def load(self) -> dict[str, Any]:
        now = timezone.now()
        row = BrowserSession.objects.filter(
            pk=digest(self.session_key or ""), expire_date__gt=now
        ).first()
        if row is None:
            self._session_key = None
            return {}
        if now - row.seen_at >= _SEEN_EVERY:
            self._note_use(row, now)
        return self.decode(row.session_data)

    def _insert(self, values: dict[str, Any]) -> None:
        now = timezone.now()
        row = BrowserSession(
            session_key=digest(str(self.session_key)),
            created_at=now,
            seen_at=now,
            expire_date=end_of(now, now),
            address=self.address,
            browser=self.browser,
            **values,
        )
        try:
            with transaction.atomic():
                row.save(force_insert=True)
        except IntegrityError as error:
            raise CreateError from error

    def _note_use(self, row: BrowserSession, now: datetime) -> None:
        values: dict[str, Any] = {"seen_at": now, "expire_date": end_of(row.created_at, now)}
        if self.address:
            values |= {"address": self.address, "browser": self.browser}
        try:
            with transaction.atomic():
                BrowserSession.objects.filter(pk=row.pk).update(**values)
        except DatabaseError:
            # A database that refuses writes still serves pages.
            log.warning("session_use_not_recorded", exc_info=True)


def end_of(created_at: datetime, seen_at: datetime) -> datetime:
    """Return when a session ends unless there is another request."""
    return min(created_at + settings.SESSION_LIFETIME, seen_at + settings.SESSION_IDLE)
