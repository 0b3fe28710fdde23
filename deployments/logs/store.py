"""The output of containers: read from the engine, or from what was stored at the removal."""

import time
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db import transaction

from clusters import engines
from clusters.drivers import driver_for
from clusters.drivers.base import Cause, Driver, DriverError
from deployments.choices import ENDED, Status
from deployments.logs import readers
from deployments.logs.models import RunOutput
from deployments.models import Deployment
from deployments.runtime.models import Run, RunQuerySet
from hypervisor.base import purging
from hypervisor.base.errors import Conflict, NotFound, Unavailable
from hypervisor.base.secrets import CannotDecrypt

DEFAULT_TAIL = 1000
"""How many of the last lines are returned by default."""

READ_BYTES = 8 * 1024 * 1024
"""How much of the end of an output is returned at most, unless it is followed."""

TO_COME = (Status.PENDING, Status.STARTING)
"""The states of a deployment whose next run has not started yet."""

_KEPT_LINES = 10_000
_POLL_S = 1.0
_ENDING_S, _ENDING_POLL_S = 5.0, 0.2
"""How long, and how often, reading is retried while the container is being removed."""

_CUT = b"[earlier output is left out: use `follow` to get all of it]\n"

log = structlog.get_logger(__name__)


def keep(driver: Driver, run: Run) -> None:
    """Store the last part of an ended container's output, before the container is removed.

    Raises DriverError if the engine does not answer. If the engine cannot read the output, the
    loss is logged.
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
        rows = Run.objects.locked().filter(pk=run.pk)
        if rows.values("pk").first():  # the deployment may have been deleted in between
            values = {"text": text, "dropped": dropped}
            RunOutput.objects.update_or_create(run=run, defaults=values)


def purge(now: datetime) -> int:
    """Delete output that is older than LOG_KEEP_DAYS. Returns the number of deleted rows."""
    limit = now - timedelta(days=settings.LOG_KEEP_DAYS)
    return purging.purge(RunOutput.objects.all(), "kept_at", limit, order="kept_at")


def run_of(deployment: Deployment, run_id: int | None = None) -> Run:
    """Return the run with this id, or the deployment's last run that had a container.

    Raises NotFound if the deployment has no such run, Conflict if it never had a container.
    """
    if run_id is not None:
        return _named(deployment, run_id)
    last = _runs(deployment).launched().order_by("-pk").first()
    if last is None:
        remedy = "use `follow` to wait for it" if deployment.status in TO_COME else "start it"
        raise Conflict(
            f"Deployment {deployment.pk} is {deployment.status} and has no output, because it has"
            f" never been started: {remedy}."
        )
    return last


def read(run: Run, *, tail: int | None) -> bytes:
    """Return the last `tail` lines that the run has written so far, at most READ_BYTES.

    With None, all lines. Raises Unavailable if the engine does not answer, Busy if too many logs
    are being read.
    """
    deadline = time.monotonic() + _ENDING_S
    while True:
        kept = _kept(run, tail)
        if kept is not None:
            return kept
        if _is_over(run) or run.container is None:
            return b""
        try:
            # Empty if the container has just been removed: its output is stored by now.
            return _from_engine(run, tail) or _kept(run, tail) or b""
        except (DriverError, CannotDecrypt) as error:
            # The output of a container that is being removed is stored by now.
            kept = _kept(run, tail)
            if kept is None and (_is_silent(error) or time.monotonic() > deadline):
                raise Unavailable(
                    f"The engine of cluster {run.cluster} does not answer: try again later, or ask"
                    " an operator."
                ) from error
        time.sleep(_ENDING_POLL_S)


def follow(deployment: Deployment, *, tail: int | None, run_id: int | None) -> Iterator[bytes]:
    """Yield the output of the deployment's run as it is written, until the run ends.

    While the deployment is pending or starting, wait for its next run. Empty pieces in between let
    the server notice that the client has disconnected. Raises NotFound and Conflict like `run_of`.
    """
    if run_id is not None:
        return _followed(_named(deployment, run_id), tail)
    if deployment.status in TO_COME:
        return _awaited(deployment, tail)
    return _followed(run_of(deployment), tail)


def last_lines(text: bytes, count: int | None) -> bytes:
    """Return the last `count` lines of the text, all of them for None."""
    if count is None:
        return text
    return b"".join(text.splitlines(keepends=True)[-count:]) if count else b""


def _awaited(deployment: Deployment, tail: int | None) -> Iterator[bytes]:
    """Follow the next run that gets a container, unless the deployment ends before."""
    released = deployment.runs.filter(released_at__isnull=False)
    to_come = _runs(deployment).filter(pk__gt=max(released.values_list("pk", flat=True), default=0))
    while (run := to_come.launched().order_by("pk").first()) is None:
        deployment.refresh_from_db(fields=["status"])
        if deployment.status in ENDED:
            yield f"[{deployment.name} is {deployment.status} and was not started]\n".encode()
            return
        yield b""
        time.sleep(_POLL_S)
    yield from _followed(run, tail)


def _followed(run: Run, tail: int | None) -> Iterator[bytes]:
    wrote, deadline = False, None
    while not wrote and not _is_over(run):
        try:
            for piece in _live(run, tail):
                wrote = wrote or bool(piece)
                yield piece
        except (DriverError, CannotDecrypt) as error:
            deadline = deadline or time.monotonic() + _ENDING_S
            if _is_silent(error) or wrote or time.monotonic() > deadline:
                if not _is_over(run):
                    yield f"\n[the engine of {run.cluster} does not answer: {error}]\n".encode()
                return
        if not wrote:
            yield b""
            time.sleep(_POLL_S)  # until there is a container, or its output is stored
    if not wrote:
        yield read(run, tail=tail)


def _live(run: Run, tail: int | None) -> Iterator[bytes]:
    if run.cluster is None or run.container is None:
        return iter(())
    engine = engines.of_node(run.cluster, run.node_id)
    return driver_for(engine).logs(run.container, tail=tail, follow=True)


def _from_engine(run: Run, tail: int | None) -> bytes:
    assert run.cluster is not None and run.container is not None  # noqa: S101, PT018
    engine = engines.of_node(run.cluster, run.node_id)
    if engine.connection and engine.connection.lost_contact_at:
        raise DriverError("Contact is lost.", retriable=True, cause=Cause.UNREACHABLE)
    with readers.place(run.cluster.organization_id):
        text, is_cut = _last(driver_for(engine).logs(run.container, tail=tail), READ_BYTES)
    return _CUT + text if is_cut else text


def _is_silent(error: DriverError | CannotDecrypt) -> bool:
    """Whether the engine cannot be reached at all; otherwise it refused for this container."""
    return isinstance(error, CannotDecrypt) or error.cause is Cause.UNREACHABLE


def _runs(deployment: Deployment) -> RunQuerySet:
    return deployment.runs.select_related("cluster", "deployment")


def _named(deployment: Deployment, run_id: int) -> Run:
    named = _runs(deployment).filter(pk=run_id).first()
    if named is None:
        raise NotFound(
            f"Deployment {deployment.pk} has no run {run_id}: its events name its runs.", attr="run"
        )
    return named


def _is_over(run: Run) -> bool:
    run.refresh_from_db(fields=["ended_at", "cluster", "node", "launched_at", "container_uid"])
    return run.ended_at is not None or run.cluster is None


def _kept(run: Run, tail: int | None) -> bytes | None:
    row = RunOutput.objects.filter(run=run).first()
    if row is None:
        return None
    text = last_lines(bytes(row.text), tail)
    whole = len(text) == len(row.text)
    return b"[earlier output was not kept]\n" + text if row.dropped and whole else text


def _last(pieces: Iterable[bytes], limit: int) -> tuple[bytes, bool]:
    """Return up to `limit` bytes from the end, in whole lines, and whether more came before."""
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
