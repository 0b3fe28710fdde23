"""Do a POST at most once: the `Idempotency-Key` header.

The key is claimed in the transaction of the work itself, in PostgreSQL. So a twin that comes
meanwhile waits for the first, a failure forgets the key together with the work, and no answer is
kept of what was not done.
"""

import hashlib
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.db import connection, transaction
from django.utils import timezone
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.errors import Conflict, Invalid
from accounts.models import IdempotencyKey, User

HEADER = "Idempotency-Key"
LIFETIME = timedelta(hours=24)
_MAX_LENGTH = 255

Handler = Callable[..., Response]


class IdempotentMixin(APIView):
    """A view whose POSTs honour the header; a caller without a user has no keys."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        key = request.headers.get(HEADER)
        if request.method == "POST" and key is not None and isinstance(request.user, User):
            handler = getattr(self, "post", self.http_method_not_allowed)
            vars(self)["post"] = partial(_once, handler, _checked(key), request.user)


def purge(now: datetime) -> int:
    """Forget the answers that are older than a day. Returns how many rows went."""
    deleted, _by_model = IdempotencyKey.objects.filter(created_at__lt=now - LIFETIME).delete()
    return deleted


def _checked(key: str) -> str:
    if not 1 <= len(key) <= _MAX_LENGTH or "\0" in key:
        raise Invalid(f"Give a key of 1 to {_MAX_LENGTH} characters.", attr=HEADER)
    return key


@transaction.atomic
def _once(
    handler: Handler, key: str, user: User, request: Request, *args: Any, **kwargs: Any
) -> Response:
    now = timezone.now()
    fingerprint = _fingerprint(request)
    claimed = _claim(user, key, fingerprint, now)
    if claimed is None:
        return _replay(IdempotencyKey.objects.get(user=user, key=key), fingerprint)
    response = handler(request, *args, **kwargs)
    if 200 <= response.status_code < 300:
        IdempotencyKey.objects.filter(pk=claimed).update(
            status=response.status_code, body=JSONRenderer().render(response.data).decode()
        )
    else:
        transaction.set_rollback(True)
    return response


def _fingerprint(request: Request) -> str:
    digest = hashlib.sha256()
    django_request = request._request
    for part in (
        str(request.method).encode(),
        django_request.get_full_path().encode(),
        django_request.body,
    ):
        digest.update(len(part).to_bytes(8) + part)
    return digest.hexdigest()


def _claim(user: User, key: str, fingerprint: str, now: datetime) -> int | None:
    """Return the row's id when the key is new or has expired; wait for whoever claims it now."""
    sql = """
        INSERT INTO accounts_idempotencykey AS kept (user_id, key, fingerprint, body, created_at)
        VALUES (%(user)s, %(key)s, %(fingerprint)s, '', %(now)s)
        ON CONFLICT (user_id, key) DO UPDATE
        SET fingerprint = excluded.fingerprint, created_at = excluded.created_at,
            status = NULL, body = ''
        WHERE kept.created_at < %(expired)s
        RETURNING id
    """
    parameters: dict[str, Any] = {
        "user": user.pk,
        "key": key,
        "fingerprint": fingerprint,
        "now": now,
        "expired": now - LIFETIME,
    }
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        row = cursor.fetchone()
    return None if row is None else int(row[0])


def _replay(kept: IdempotencyKey, fingerprint: str) -> Response:
    if kept.fingerprint != fingerprint:
        raise Conflict(
            f"This {HEADER} belongs to another request of the last 24 hours: use a new key for a"
            " new request.",
            attr=HEADER,
            code="idempotency_key_reused",
        )
    data = json.loads(kept.body) if kept.body else None
    return Response(data, status=kept.status, headers={"Idempotent-Replayed": "true"})
