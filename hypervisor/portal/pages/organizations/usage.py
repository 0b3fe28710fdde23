"""Who uses how much of an organization's clusters, now and over time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.utils import timezone

from clusters.resources import cores
from deployments.usage import over_time, reading
from deployments.usage.over_time import PersonOverTime, UsageOverTime
from deployments.usage.reading import Share
from hypervisor.portal.pages.organizations.base import OrganizationPage
from hypervisor.ui.charts import Plot, Series
from hypervisor.ui.data.amounts import bars

SPANS = {
    "24h": (timedelta(hours=24), 48),
    "7d": (timedelta(days=7), 84),
    "30d": (timedelta(days=30), 60),
}
"""The spans, each with the number of its steps."""

_SHORTEST = timedelta(minutes=10)
"""The shortest span, even if the organization is younger."""

_TONES = ("first", "second", "third")
"""The colours of the users with the most; the others have one together."""


@dataclass(frozen=True, slots=True)
class Line:
    """What one user has now and had in the span."""

    username: str | None
    share: Share | None
    past: PersonOverTime | None

    @property
    def cpu(self) -> int | float:
        return cores(self.share.allocated.cpu_milli) if self.share else 0


class UsagePage(OrganizationPage):
    title = "Usage"
    tab = "usage"
    template_name = "portal/organizations/usage.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        asked = self.request.GET.get("span", "")
        span = asked if asked in SPANS else "24h"
        longest, steps = SPANS[span]
        self.refresh_s = None if span == "30d" else 30
        now = timezone.now()
        length = min(longest, max(now - self.organization.created_at, _SHORTEST))
        present = reading.read(self.organization)
        past = over_time.read(self.organization, end=now, span=length, steps=steps)
        return super().get_context_data(
            present=present,
            bars=bars(present.capacity, present.allocated),
            plot=_plot(past, has_gpus=present.capacity.gpu > 0, span=length),
            lines=list(_lines(present.users, past.people)),
            spans=SPANS,
            span=span,
            **kwargs,
        )


def _plot(past: UsageOverTime, *, has_gpus: bool, span: timedelta) -> Plot | None:
    if not past.people:
        return None
    several = [person.gpus if has_gpus else person.cores for person in past.people]
    shown = several[: len(_TONES)]
    series = [
        Series(person.username or "deleted users", tone, values)
        for person, tone, values in zip(past.people, _TONES, shown, strict=False)
    ]
    if others := several[len(_TONES) :]:
        total = [sum(values) for values in zip(*others, strict=True)]
        series.append(Series(f"{len(others)} others", "fourth", total))
    what = "GPUs" if has_gpus else "CPU cores"
    return Plot(f"Allocated {what} by person", past.times, series, stacked=True, span=span)


def _lines(present: Sequence[Share], past: Sequence[PersonOverTime]) -> Iterator[Line]:
    """Yield a line for each user, first those who have something now."""
    formerly = {person.username: person for person in past}
    for share in present:
        yield Line(share.username, share, formerly.pop(share.username, None))
    for person in formerly.values():
        yield Line(person.username, None, person)
