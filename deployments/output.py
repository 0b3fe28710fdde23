"""What containers write: from the engine while it is there, afterwards from what was kept of it."""

import time
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db import transaction

from accounts.errors import Conflict, NotFound, Unavailable
from clusters.drivers import driver_for
from clusters.drivers.base import Cause, Driver, DriverError
from clusters.secrets import CannotDecrypt
from deployments.models import Deployment, Run, RunOutput

_KEPT_LINES = 10_000
_POLL_SECONDS = 1.0

log = structlog.get_logger(__name__)


def keep(driver: Driver, run: Run) -> None:
    """Store the last part of what an ended container wrote, before it goes.

    Raises DriverError when the engine does not answer; what it cannot read is lost, and logged.
    """
    limit = settings.LOG_KEEP_KIB * 1024
    uid = run.container
    if not limit or uid is None:
        return
    try:
        text, dropped = _last(driver.logs(uid, tail=_KEPT_LINES), limit)
    except DriverError as error:
        if error.cause is Cause.UNREACHABLE:
            raise
        log.warning("output_lost", run=run.pk, error=str(error))
        return
    with transaction.atomic():
        rows = Run.objects.select_for_update(no_key=True, of=("self",)).filter(pk=run.pk)
        if rows.values("pk").first():  # its deployment may have been deleted meanwhile
            values = {"text": text, "dropped": dropped}
            RunOutput.objects.update_or_create(run=run, defaults=values)


def purge(now: datetime) -> int:
    """Forget what has been kept for longer than LOG_KEEP_DAYS. Returns how many rows went."""
    old = RunOutput.objects.filter(kept_at__lt=now - timedelta(days=settings.LOG_KEEP_DAYS))
    return old.delete()[0]


def run_of(deployment: Deployment, run_id: int | None = None) -> Run:
    """Return the run whose output is meant: the one named, or the last that had a container.

    Raises NotFound for a run that is not the deployment's, Conflict when it has had none.
    """
    runs = deployment.runs.select_related("cluster", "deployment")
    if run_id is not None:
        named = runs.filter(pk=run_id).first()
        if named is None:
            raise NotFound(f"Deployment {deployment.pk} has no run {run_id}.", attr="run")
        return named
    last = runs.launched().order_by("-pk").first()
    if last is None:
        raise Conflict(
            f"Deployment {deployment.pk} is {deployment.status} and has not been started yet: it"
            " has written nothing."
        )
    return last


def read(run: Run, *, tail: int | None) -> Iterator[bytes]:
    """Return what the run has written until now, its last `tail` lines or all that there is.

    Raises Unavailable when the engine does not answer.
    """
    kept = _kept(run, tail)
    if kept is not None:
        return iter([kept])
    uid = run.container
    if run.ended_at is not None or run.cluster is None or uid is None:
        return iter(())
    try:
        pieces = driver_for(run.cluster).logs(uid, tail=tail)
        # The first piece tells whether the engine answers, while there is still a status to choose.
        first = next(pieces, b"")
    except (DriverError, CannotDecrypt) as error:
        raise Unavailable(
            f"The engine of cluster {run.cluster.name} does not answer: try again later."
        ) from error
    # It may have ended and gone while we asked.
    return _chain(first, pieces) if first else iter([_kept(run, tail) or b""])


def follow(run: Run, *, tail: int | None) -> Iterator[bytes]:
    """Yield what the run writes until it ends.

    An empty piece now and then gives the reader, where it has left, the occasion to close this.
    """
    while True:
        pieces = read(run, tail=tail) if _is_over(run) else _live(run, tail)
        wrote = False
        for piece in pieces:
            wrote = wrote or bool(piece)
            yield piece
        if wrote or _is_over(run):
            return
        yield b""
        time.sleep(_POLL_SECONDS)  # until there is a container


def last_lines(text: bytes, count: int | None) -> bytes:
    """Return the last lines of the text, all of it for None."""
    if count is None:
        return text
    return b"".join(text.splitlines(keepends=True)[-count:]) if count else b""


def _live(run: Run, tail: int | None) -> Iterator[bytes]:
    assert run.cluster is not None  # noqa: S101 of a run that is not over
    uid = run.container
    if uid is None:
        return
    try:
        yield from driver_for(run.cluster).logs(uid, tail=tail, follow=True)
    except (DriverError, CannotDecrypt) as error:
        yield f"\n[the engine of {run.cluster.name} does not answer: {error}]\n".encode()


def _is_over(run: Run) -> bool:
    run.refresh_from_db(fields=["ended_at", "cluster", "launched_at", "container_uid"])
    return run.ended_at is not None or run.cluster_id is None


def _kept(run: Run, tail: int | None) -> bytes | None:
    row = RunOutput.objects.filter(run=run).first()
    if row is None:
        return None
    text = last_lines(bytes(row.text), tail)
    whole = len(text) == len(row.text)
    return b"[earlier output was not kept]\n" + text if row.dropped and whole else text


def _last(pieces: Iterable[bytes], limit: int) -> tuple[bytes, bool]:
    """Return the last bytes, whole lines where there are any, and whether more came before."""
    kept, dropped = bytearray(), False
    for piece in pieces:
        kept += piece
        if len(kept) > limit:
            del kept[:-limit]
            dropped = True
    if dropped:
        cut = kept.find(b"\n") + 1
        del kept[:cut]
    return bytes(kept), dropped


def _chain(first: bytes, rest: Iterable[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest
