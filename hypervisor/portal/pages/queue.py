"""The queue of an organization: who is before whom, and why each deployment waits."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.core.paginator import Paginator
from django.shortcuts import get_object_or_404
from django.utils import timezone

from clusters.places import Places
from hypervisor.base.numbers import whole
from hypervisor.portal.bases import PortalPage
from hypervisor.ui.data.queue import EMPTY, TITLES
from hypervisor.ui.templatetags.wording import codewords
from orgs.models import Organization
from scheduling.insight.organization_queue import NEXT, Filters, Group
from scheduling.insight.queue import Queue

_ROWS = 50
_LONG, _REFRESH_LONG_S = 2000, 15
"""A queue of more deployments is refreshed less often, because each refresh plans it."""


@dataclass(frozen=True, slots=True)
class Tab:
    title: str
    count: int
    href: str
    current: bool


class FilterForm(forms.Form):
    organization = forms.ModelChoiceField(
        Organization.objects.none(), required=False, empty_label=None
    )
    code = forms.ChoiceField(label="Reason", required=False)
    q = forms.CharField(
        label="Search",
        required=False,
        widget=forms.TextInput({"type": "search", "placeholder": "Name or id"}),
    )
    group = forms.CharField(required=False, widget=forms.HiddenInput())


class QueuePage(PortalPage):
    title = "Queue"
    section = "queue"
    template_name = "portal/queue.html"
    refresh_s = 5

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        mine = Organization.objects.visible_to(self.person).order_by("name", "pk")
        organizations = list(mine)
        if not organizations:
            return super().get_context_data(organizations=[], **kwargs)
        wanted = whole(self.request.GET.get("organization", ""))
        organization = get_object_or_404(mine, pk=wanted) if wanted else organizations[0]
        if len(organizations) > 1:
            self.title = f"Queue of {organization.name}"
        return super().get_context_data(
            organizations=organizations,
            organization=organization,
            **self._queue(organization),
            **kwargs,
        )

    def _queue(self, organization: Organization) -> dict[str, Any]:
        query = self.request.GET
        group = next((g for g in Group if g == query.get("group")), Group.COMPETING)
        code, search = query.get("code", ""), query.get("q", "").strip()
        queue = Queue(Filters(organization.pk, code=code, search=search), timezone.now())
        if queue.length > _LONG:
            self.refresh_s = _REFRESH_LONG_S
        counts = {each: queue.count(each) for each in Group}
        page = Paginator(range(counts[group]), _ROWS).get_page(query.get("page"))
        entries = queue.entries(group, page.start_index() - 1, page.end_index()) if page else []
        return {
            "group": group,
            "form": self._form(organization, queue, group),
            "filtered": bool(search or (code and group == Group.COMPETING)),
            "tabs": [self._tab(each, counts[each], each == group) for each in TITLES],
            "page": page,
            "entries": entries,
            "places": Places.of_rows(entry.deployment for entry in entries),
            "starting": queue.codes[NEXT],
            "competing": queue.length,
            "longest": self._longest(queue),
            "caption": TITLES[group],
            "empty": EMPTY[group],
        }

    def _form(self, organization: Organization, queue: Queue, group: Group) -> FilterForm:
        form = FilterForm({**self.request.GET.dict(), "organization": organization.pk})
        fields: dict[str, Any] = form.fields
        fields["organization"].queryset = Organization.objects.visible_to(self.person).order_by(
            "name", "pk"
        )
        codes = [(c, f"{codewords(c)} ({n})") for c, n in sorted(queue.codes.items())]
        fields["code"].choices = [("", "Any"), *codes]
        if group != Group.COMPETING:
            del fields["code"]
        return form

    def _tab(self, group: Group, count: int, current: bool) -> Tab:
        return Tab(TITLES[group], count, self._link(group=group, page=None, code=None), current)

    def _longest(self, queue: Queue) -> float | None:
        """Return the longest wait among the competing deployments, in seconds."""
        first = queue.first_queued_at
        return None if first is None else timezone.now().timestamp() - first

    def _link(self, **changed: str | None) -> str:
        """Return the page's address with some of its query changed, None removed."""
        merged = {**self.request.GET.dict(), **changed}
        return "?" + urlencode({name: value for name, value in merged.items() if value})
