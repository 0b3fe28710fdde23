"""The first page of a member: the own deployments, or all of the own organizations."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.db.models import Count, Q
from django.urls import reverse
from django.utils import timezone

from clusters.places import Places
from deployments import labels
from deployments.choices import ENDED, Status
from deployments.models import Array, Deployment, DeploymentQuerySet
from hypervisor.base.numbers import whole
from hypervisor.portal.bases import PortalPage
from hypervisor.portal.pages.array import offered
from orgs.models import Organization
from scheduling.insight.standing import Standing, standings

_ROWS = 50
_LATEST = 1000
"""Of the ended deployments, only those among so many of the latest are counted."""

_LONG, _REFRESH_LONG_S = 2000, 15
"""A queue of more deployments is refreshed less often, because each refresh plans it."""

HELD = "held"
_STATES = [
    ("pending", "Pending"),
    (HELD, "On hold"),
    *((status.value, status.value.capitalize()) for status in Status if status != Status.PENDING),
]


class FilterForm(forms.Form):
    """What the list shows; an invalid value is reported and filters nothing."""

    whose = forms.ChoiceField(
        label="Whose", required=False, choices=[("", "Mine"), ("all", "Everybody's")]
    )
    organization = forms.ModelChoiceField(
        Organization.objects.none(), required=False, empty_label="All"
    )
    status = forms.ChoiceField(required=False, choices=[("", "Any"), *_STATES])
    q = forms.CharField(
        label="Search",
        required=False,
        widget=forms.TextInput({"type": "search", "placeholder": "Name or id"}),
    )
    label = forms.CharField(
        label="Labels", required=False, widget=forms.TextInput({"placeholder": "team=vision"})
    )
    array = forms.ModelChoiceField(Array.objects.none(), required=False, widget=forms.HiddenInput())

    @property
    def is_for_everybody(self) -> bool:
        """Whether it shows everybody's deployments, as it does of an array."""
        return self.cleaned_data.get("whose") == "all" or bool(self.cleaned_data.get("array"))

    def clean_label(self) -> list[labels.Wanted]:
        texts = self.cleaned_data["label"].replace(",", " ").split()
        try:
            return [labels.wanted(text) for text in texts]
        except ValueError as error:
            raise forms.ValidationError(str(error)) from error

    def condition(self, *, with_status: bool = True) -> Q:
        """Return the condition of all filters but `whose`, or also without that of the status."""
        given = self.cleaned_data
        wanted = Q()
        if given.get("organization"):
            wanted &= Q(organization=given["organization"])
        if given.get("array"):
            wanted &= Q(array=given["array"])
        if given.get("q"):
            text = given["q"].strip()
            wanted &= Q(name__icontains=text) | Q(pk=whole(text))
        if given.get("label"):
            wanted &= labels.condition(given["label"])
        if with_status and (status := given.get("status")):
            wanted &= Q(status=Status.PENDING if status == HELD else status)
            if status in (HELD, Status.PENDING):
                wanted &= Q(held=status == HELD)
        return wanted


@dataclass(frozen=True, slots=True)
class Line:
    """A deployment of the list; `standing` is where it stands if it is pending."""

    deployment: Deployment
    state: str
    standing: Standing | None

    @property
    def since(self) -> datetime:
        """When it was queued, placed, started or ended, whichever it was last."""
        row = self.deployment
        if row.status == Status.PENDING:
            return row.queued_at
        return row.finished_at or row.started_at or row.placed_at or row.created_at


@dataclass(frozen=True, slots=True)
class Tab:
    """A state with the number of deployments in it; `bounded` if there may be more."""

    title: str
    count: int | None
    href: str
    current: bool
    bounded: bool = False


class DeploymentsPage(PortalPage):
    title = "Deployments"
    section = "deployments"
    template_name = "portal/deployments.html"
    refresh_s = 5

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        organizations = list(Organization.objects.visible_to(self.person).order_by("name"))
        form = FilterForm(self.request.GET)
        fields: dict[str, Any] = form.fields
        fields["organization"].queryset = Organization.objects.filter(
            pk__in=[row.pk for row in organizations]
        ).order_by("name")
        fields["array"].queryset = Array.objects.visible_to(self.person)
        form.is_valid()
        if array := form.cleaned_data.get("array"):
            self.title = f"Array {array.name}"
            self.breadcrumbs = [("Deployments", reverse("portal:deployments")), (array.name, None)]
        rows, older, newer = self._page(self._scope(form).filter(form.condition()))
        standing = standings(rows, timezone.now())
        if any(each.length and each.length > _LONG for each in standing.values()):
            self.refresh_s = _REFRESH_LONG_S
        query = self.request.GET
        return super().get_context_data(
            form=form,
            lines=[Line(row, _state(row.status, row.held), standing.get(row.pk)) for row in rows],
            places=Places.of_rows(rows),
            tabs=list(self._tabs(form)),
            array=array,
            array_verbs=offered(array, self.person) if array else [],
            filtered=any(query.get(name) for name in form.fields if name != "whose"),
            everybody=form.is_for_everybody,
            several=len(organizations) > 1,
            older=older and self._link(after=older, before=None),
            newer=newer and self._link(before=newer, after=None),
            **kwargs,
        )

    def _scope(self, form: FilterForm) -> DeploymentQuerySet:
        rows = Deployment.objects.visible_to(self.person)
        return rows if form.is_for_everybody else rows.filter(created_by=self.person)

    def _page(self, found: DeploymentQuerySet) -> tuple[list[Deployment], int | None, int | None]:
        """Return the page's rows, the newest first, and after and before which id others are."""
        after, before = (whole(self.request.GET.get(name, "")) for name in ("after", "before"))
        found = found.select_related("organization", "cluster", "node", "created_by")
        found = found.defer("env", "command")
        if before is not None:
            rows = list(found.filter(pk__gt=before).order_by("pk")[: _ROWS + 1])
            more, rows = len(rows) > _ROWS, rows[:_ROWS][::-1]
            return rows, (rows[-1].pk if rows else None), (rows[0].pk if more else None)
        if after is not None:
            found = found.filter(pk__lt=after)
        rows = list(found.order_by("-pk")[: _ROWS + 1])
        more, rows = len(rows) > _ROWS, rows[:_ROWS]
        newer = rows[0].pk if rows and after is not None else None
        return rows, (rows[-1].pk if more else None), newer

    def _tabs(self, form: FilterForm) -> Iterator[Tab]:
        """Yield the states with their counts; the ended ones are counted among the latest only."""
        rows = self._scope(form).filter(form.condition(with_status=False))
        live = rows.live().order_by().values_list("status", "held").annotate(Count("pk"))
        latest = list(rows.order_by("-pk").values_list("status", flat=True)[:_LATEST])
        counts = Counter({_state(status, held): number for status, held, number in live})
        counts.update(status for status in latest if status in ENDED)
        current = form.cleaned_data.get("status") or ""
        yield Tab("All", None, self._link(status=None), current == "")
        for state, title in _STATES:
            if counts[state] or state in (Status.PENDING, Status.RUNNING, current):
                bounded = state in ENDED and len(latest) == _LATEST
                link = self._link(status=state)
                yield Tab(title, counts[state], link, state == current, bounded)

    def _link(self, **changed: Any) -> str:
        """Return the page's address with some of its query changed, None removed."""
        first = dict.fromkeys(("after", "before"))
        merged = {**self.request.GET.dict(), **first, **changed}
        return "?" + urlencode({name: value for name, value in merged.items() if value})


def _state(status: str, held: bool) -> str:
    return HELD if held and status == Status.PENDING else status
