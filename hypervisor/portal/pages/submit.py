"""The page to submit a deployment, with the consequences beside the form before the click."""

from dataclasses import dataclass, field
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from accounts.idempotency import once
from clusters.places import Places
from deployments.bulk import Entry, submit_many, submits_to
from deployments.models import Deployment
from hypervisor.base.errors import DomainError
from hypervisor.base.numbers import whole
from hypervisor.portal.bases import PortalPage
from hypervisor.portal.submission import SubmitForm, content_of, like
from orgs.models import Organization
from scheduling.insight.dry_run import ArrayDryRun, DryRun, dry_run
from scheduling.insight.wording import clock

_VICTIMS = 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a submission would lead to: in one sentence, why, who would be affected, and when it
    would probably start.
    """

    tone: str
    headline: str
    why: str
    evictions: list[dict[str, Any]] = field(default_factory=list)
    moves: list[dict[str, Any]] = field(default_factory=list)
    waits: list[str] = field(default_factory=list)
    forecast: str = ""

    @property
    def shown_evictions(self) -> list[dict[str, Any]]:
        return self.evictions[:_VICTIMS]

    @property
    def shown_moves(self) -> list[dict[str, Any]]:
        return self.moves[:_VICTIMS]


class SubmitPage(PortalPage):
    title = "Submit a deployment"
    section = "submit"
    template_name = "portal/submit.html"

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return self._page(SubmitForm(self.person, initial=self._former()))

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Submit, or show what a submission would lead to and keep what was typed."""
        form = SubmitForm(self.person, request.POST)
        entry = form.entry(self.person)
        try:
            if entry and request.POST.get("do") == "submit":
                return self._submit(form, entry)
            outcome = _outcome(dry_run(created_by=self.person, entry=entry)) if entry else None
        except DomainError as error:
            form.refuse(error)
            outcome = None
        if request.headers.get("X-Fragment") == "outcome":
            self.template_name = "portal/outcome.html"
        return self._page(form, outcome)

    def _former(self) -> dict[str, Any]:
        """Return the values of the deployment that another one should be like, or else the
        organization of the latest one.
        """
        wanted = whole(self.request.GET.get("like", ""))
        rows = Deployment.objects.visible_to(self.person).select_related("array")
        if former := rows.filter(pk=wanted).first() if wanted else None:
            return like(former)
        own = Deployment.objects.filter(created_by=self.person).order_by("-pk")
        return {"organization": own.values_list("organization", flat=True).first()}

    def _submit(self, form: SubmitForm, entry: Entry) -> HttpResponse:
        def submit() -> list[int | None]:
            (row,) = submit_many(created_by=self.person, entries=[entry])
            return [row.pk, row.array_id]

        key = form.cleaned_data["key"]
        (pk, array), is_new = once(self.person, key, content_of(form.body()), submit)
        name = entry.spec.name
        if not is_new:
            messages.info(
                self.request,
                f"{name} had been submitted already, and was not submitted again. For a second one,"
                " open the form anew.",
            )
        elif array:
            messages.success(self.request, f"{name}: {entry.size} elements submitted.")
        else:
            messages.success(self.request, f"{name}: submitted.")
        if array:
            return HttpResponseRedirect(f"{reverse('portal:deployments')}?array={array}")
        return HttpResponseRedirect(reverse("portal:deployment", args=[pk]))

    def _page(self, form: SubmitForm, outcome: Outcome | None = None) -> HttpResponse:
        belongs = Organization.objects.visible_to(self.person).exists()
        context = self.get_context_data(
            form=form, outcome=outcome, belongs=belongs, may_submit=bool(submits_to(self.person))
        )
        return self.render_to_response(context)


def _outcome(result: DryRun) -> Outcome:
    tone = {"run": "good", "preempt": "warn"}.get(result.outcome, "waits")
    array = result.array if isinstance(result, ArrayDryRun) else None
    waits = [f"{wait.count} wait: {wait.reason}" for wait in array.waits] if array else []
    return Outcome(
        tone,
        f"{_start(result)}{_victims(result)}.",
        result.reason,
        result.evictions,
        result.moves,
        waits,
        result.forecast.reason if result.forecast else "",
    )


def _start(result: DryRun) -> str:
    if isinstance(result, ArrayDryRun) and result.array.starting:
        return f"{result.array.starting} of {result.array.size} elements would start now"
    if result.outcome == "wait":
        place = ""
        if result.position:
            place = f" at place {result.position} of {result.queue_length} in the queue"
        start = ""
        if result.forecast and result.forecast.expected:
            start = f"; probably starts about {clock(result.forecast.expected)}"
        return f"Would wait{place}{start}"
    at = result.cluster, result.node
    return f"Would start now on {Places.named([at]).name(*at)}"


def _victims(result: DryRun) -> str:
    if result.outcome == "wait":
        return ""
    evicted, moved = len(result.evictions), len(result.moves)
    if isinstance(result, ArrayDryRun):
        evicted, moved = result.array.evicted, result.array.moved
    parts = [
        f"{verb} {count} deployment{'s' if count > 1 else ''}"
        for verb, count in (("evicting", evicted), ("moving", moved))
        if count
    ]
    return f", {' and '.join(parts)}" if parts else ", evicting nobody"
