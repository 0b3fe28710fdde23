"""What a person gets, what the organizations get that the person administers, and what was sent."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse

from accounts.services import mail_address_of
from deployments.models import NoticeMessage, NoticeRule
from deployments.notices import services
from deployments.notices.kinds import DEFAULT_KINDS, DEFAULT_WAIT_MINUTES, Kind, Scope
from hypervisor.base.errors import DomainError
from hypervisor.base.numbers import whole
from hypervisor.portal.bases import PortalPage
from orgs.models import Organization
from orgs.permissions import administered_by

_MESSAGES_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Group:
    """The rules of an organization."""

    organization: Organization
    rules: Sequence[NoticeRule]


class NoticesPage(PortalPage):
    title = "Notices"
    section = "notices"
    template_name = "portal/notices/overview.html"
    refresh_s = 5

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        rules = _rules(self).select_related("organization", "recipient").order_by("pk")
        own = [rule for rule in rules if rule.user_id is not None]
        return super().get_context_data(
            own=own,
            has_own=any(rule.scope == Scope.OWN for rule in own),
            default_kinds=[Kind(kind).label for kind in DEFAULT_KINDS],
            default_minutes=DEFAULT_WAIT_MINUTES,
            groups=self._groups([rule for rule in rules if rule.user_id is None]),
            why_no_mails=services.why_no_mails(self.person),
            may_resume=services.may_resume(self.person),
            address=mail_address_of(self.person),
            sent=self._sent(),
            **kwargs,
        )

    def post(self, request: HttpRequest) -> HttpResponse:
        """Send a test, switch a rule on or off, or resume mails."""
        try:
            messages.success(request, self._act(request))
        except DomainError as error:
            messages.error(request, error.detail)
        return HttpResponseRedirect(reverse("portal:notices"))

    def _act(self, request: HttpRequest) -> str:
        if "resume" in request.POST:
            services.resume(self.person)
            return "You get mails again."
        named = request.POST.get("rule")
        rule = get_object_or_404(_rules(self), pk=whole(named) or 0) if named else None
        if rule is not None and "enabled" in request.POST:
            enabled = request.POST["enabled"] == "true"
            services.update(rule, changes={"enabled": enabled})
            return "The rule holds again." if enabled else "The rule is muted."
        services.send_test(self.person, rule)
        return "A test is being sent; its result appears below."

    def _groups(self, rules: Sequence[NoticeRule]) -> list[Group]:
        rows = Organization.objects.filter(pk__in=administered_by(self.person)).order_by("name")
        return [Group(row, [r for r in rules if r.organization_id == row.pk]) for row in rows]

    def _sent(self) -> list[NoticeMessage]:
        rows = NoticeMessage.objects.visible_to(self.person)
        rows = rows.select_related("recipient__user", "recipient__rule")
        return list(rows.order_by("-pk")[:_MESSAGES_SHOWN])


def _rules(page: PortalPage) -> Any:
    return NoticeRule.objects.administered_by(page.person)
