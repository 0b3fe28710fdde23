"""Traces of what the service does, sent to an OpenTelemetry collector if TRACES_ENDPOINT is set.

Spans are made from times that were measured anyway, after the work is done, so that they cost
nothing when they are off, and cannot make the work fail.
"""

import time
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

import structlog
from django.conf import settings
from structlog.contextvars import get_contextvars

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

Phase = tuple[str, int]
"""A part of the work, and when it ended, in nanoseconds by `time.perf_counter_ns`."""

REQUEST_ID = "request_id"
"""The name, in logs and in the headers of messages, of the id of the request that caused them."""

log = structlog.get_logger(__name__)


def record(
    name: str, began: int, phases: Sequence[Phase], attributes: Mapping[str, str | int]
) -> None:
    """Record work that began then as a trace: a span for all of it, and one for each phase.

    The phases follow each other without gaps. The trace has the id of the request that caused the
    work as `request.id`, if there is one.
    """
    if not settings.TRACES_ENDPOINT:
        return
    try:
        _record(name, began, phases, {**attributes, **_request()})
    except Exception:
        log.warning("trace_not_recorded", exc_info=True)


def _record(
    name: str, began: int, phases: Sequence[Phase], attributes: Mapping[str, str | int]
) -> None:
    from opentelemetry.context import Context
    from opentelemetry.trace import set_span_in_context

    since_the_epoch = time.time_ns() - time.perf_counter_ns()
    tracer, start = _tracer(), since_the_epoch + began
    whole = tracer.start_span(name, Context(), start_time=start, attributes=dict(attributes))
    inside = set_span_in_context(whole, Context())
    for phase, ended in phases:
        span = tracer.start_span(f"{name}.{phase}", inside, start_time=start)
        start = since_the_epoch + ended
        span.end(start)
    whole.end(start)


def _request() -> dict[str, str]:
    request_id = get_contextvars().get(REQUEST_ID)
    return {"request.id": str(request_id)} if request_id else {}


@cache
def _tracer() -> "Tracer":
    """Return this process's tracer, whose thread sends the spans every few seconds."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": "mlops-hypervisor"}))
    exporter = OTLPSpanExporter(endpoint=settings.TRACES_ENDPOINT)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider.get_tracer("hypervisor")
