"""Do a POST at most once: the `Idempotency-Key` header.

The key is claimed in PostgreSQL, in the same transaction as the work. A concurrent request with the
same key therefore waits for the first, a failure rolls back the key together with the work, and
no response is stored for work that was not done. A dry run does no work, so it ignores the header.

A response is stored with the roles that the request needed. A replay needs them again, because the
caller may have lost them since.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.db import connection, transaction
from django.utils import timezone
from django.utils.crypto import salted_hmac
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import IdempotencyKey, User
from hypervisor.base import purging
from hypervisor.base.errors import Conflict, Invalid
from hypervisor.rest.parameters import flag

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
LIFETIME = timedelta(hours=24)
MAX_LENGTH = 255

Handler = Callable[..., Response]

Needed = tuple[int, str]
"""An organization's id, and the lowest sufficient role in it."""

_needed: ContextVar[set[Needed] | None] = ContextVar("needed", default=None)


def record_needed(organization_id: int, role: str) -> None:
    """Record that the current request needs this role, so that its replay needs it again."""
    needed = _needed.get()
    if needed is not None:
        needed.add((organization_id, role))


class IdempotentMixin(APIView):
    """A view whose POSTs honour the header, except those of callers who are not logged in."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        key = request.headers.get(HEADER)
        if request.method != "POST" or key is None or not isinstance(request.user, User):
            return
        key = _checked(key)
        if not flag(request, "dry_run"):
            handler = getattr(self, "post", self.http_method_not_allowed)
            vars(self)["post"] = partial(_once, self, handler, key, request.user)

    def check_needed(self, user: User, needed: Iterable[Needed]) -> None:
        """Raise Forbidden or NotFound if the user no longer has one of these roles."""
        raise NotImplementedError(f"{self} must define how the caller's current roles are checked.")

    def to_keep(self, data: Any) -> Any:
        """Return the part of a response to store, without secrets."""
        return data

    def from_kept(self, data: Any) -> Any:
        """Return the response of a replay, made from the stored part."""
        return data


@transaction.atomic
def once(user: User, key: str, content: str, work: Callable[[], Any]) -> tuple[Any, bool]:
    """Do the work of a page's form; return its result, which is data for JSON, and True.

    If the form was sent before with the same key and content, return that result, and False.
    """
    digest = salted_hmac(f"{__name__}.once", content, algorithm="sha256").hexdigest()
    own_key = _checked(f"page:{digest}:{_checked(key)}")
    claimed = _claim(user, own_key, digest, timezone.now())
    if claimed is None:
        return json.loads(IdempotencyKey.objects.get(user=user, key=own_key).body), False
    result = work()
    IdempotencyKey.objects.filter(pk=claimed).update(status=200, body=json.dumps(result), needed=[])
    return result, True


def purge(now: datetime) -> int:
    """Delete the responses that are older than a day. Returns the number of deleted rows."""
    rows = IdempotencyKey.objects.all()
    return purging.purge(rows, "created_at", now - LIFETIME, order="created_at")


def _checked(key: str) -> str:
    if not 1 <= len(key) <= MAX_LENGTH or "\0" in key:
        raise Invalid(f"Give a key of 1 to {MAX_LENGTH} characters.", attr=HEADER)
    return key


@transaction.atomic
def _once(
    view: IdempotentMixin,
    handler: Handler,
    key: str,
    user: User,
    request: Request,
    *args: Any,
    **kwargs: Any,
) -> Response:
    now = timezone.now()
    fingerprints = _fingerprints(request)
    claimed = _claim(user, key, fingerprints[0], now)
    if claimed is None:
        return _replay(view, user, key, fingerprints)
    with _recording() as needed:
        response = handler(request, *args, **kwargs)
    if 200 <= response.status_code < 300:
        IdempotencyKey.objects.filter(pk=claimed).update(
            status=response.status_code,
            body=JSONRenderer().render(view.to_keep(response.data)).decode(),
            needed=sorted(needed),
        )
    else:
        transaction.set_rollback(True)
    return response


@contextmanager
def _recording() -> Iterator[set[Needed]]:
    """Collect the roles that are needed within the block."""
    needed: set[Needed] = set()
    token = _needed.set(needed)
    try:
        yield needed
    finally:
        _needed.reset(token)


def _fingerprints(request: Request) -> tuple[str, str]:
    """Return the digest of the request to store, and that of the former release.

    It is keyed, because a short secret in the body could be guessed from a plain digest.
    """
    former = _digest(request)
    return salted_hmac(__name__, former, algorithm="sha256").hexdigest(), former


def _digest(request: Request) -> str:
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
    """Return the row's id if the key is new or has expired, None if it is in use.

    Waits for a concurrent request that is claiming the key.
    """
    sql = """
        INSERT INTO accounts_idempotencykey AS kept (user_id, key, fingerprint, body, created_at)
        VALUES (%(user)s, %(key)s, %(fingerprint)s, '', %(now)s)
        ON CONFLICT (user_id, key) DO UPDATE
        SET fingerprint = excluded.fingerprint, created_at = excluded.created_at,
            status = NULL, body = '', needed = NULL
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


def _replay(view: IdempotentMixin, user: User, key: str, fingerprints: Collection[str]) -> Response:
    kept = IdempotencyKey.objects.get(user=user, key=key)
    if kept.fingerprint not in fingerprints:
        raise Conflict(
            f"This {HEADER} was used for a different request within the last 24 hours: use a new"
            " key for each new request.",
            attr=HEADER,
            code="idempotency_key_reused",
        )
    if kept.needed is None:
        raise Conflict(
            "This request was already carried out, but its response cannot be replayed: read the"
            " result with a GET.",
            attr=HEADER,
            code="answer_not_kept",
        )
    view.check_needed(user, kept.needed)
    data = view.from_kept(json.loads(kept.body) if kept.body else None)
    return Response(data, status=kept.status, headers={REPLAYED: "true"})
