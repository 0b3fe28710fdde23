"""The forms of a rule for notices."""

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse

from clusters import labels as label_rules
from deployments.models import NoticeRule
from deployments.notices import services
from deployments.notices.kinds import DEFAULT_KINDS, DEFAULT_WAIT_MINUTES, Channel, Kind, Scope
from deployments.notices.serializers import NoticeRuleSerializer
from hypervisor.base.forms import IntegerFormField
from hypervisor.base.numbers import whole
from hypervisor.portal.actions import ConfirmPage, FormPage
from hypervisor.portal.forms import ServiceForm
from orgs.models import Organization, Role
from orgs.permissions import require
from orgs.webhooks import targets

_AT_ONCE = ""
_PACES = [(_AT_ONCE, "At once"), *((str(h), f"Once a day at {h:02}:00 UTC") for h in range(24))]
_CHANGEABLE = ("kinds", "labels", "wait_minutes", "digest_hour", "url")


class RuleForm(ServiceForm):
    """A rule; without `channel` if it changes one, because a rule keeps its channel.

    A mail needs no `url`.
    """

    serializer_class = NoticeRuleSerializer
    shown_at = {"digest_hour": "pace"}

    deployments = forms.ModelChoiceField(
        Organization.objects.none(),
        label="Deployments",
        required=False,
        empty_label="Those that I submitted",
        to_field_name="pk",
    )
    kinds = forms.MultipleChoiceField(
        label="Notices of what",
        choices=Kind.choices,
        initial=list(DEFAULT_KINDS),
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Choose at least one."},
    )
    wait_minutes = IntegerFormField(
        label="A long wait is, in minutes", min_value=1, initial=DEFAULT_WAIT_MINUTES
    )
    labels = forms.CharField(
        label="Labels",
        required=False,
        help_text="Only deployments with all of these, such as team=vision, stage=prod.",
    )
    channel = forms.ChoiceField(
        label="By", choices=Channel.choices, initial=Channel.MAIL, widget=forms.RadioSelect
    )
    url = forms.CharField(
        label="Address",
        max_length=targets.LONGEST,
        required=False,
        widget=forms.URLInput({"autocomplete": "off"}),
        help_text="For a chat or a webhook. It is stored encrypted and not shown again.",
    )
    pace = forms.ChoiceField(label="How often", choices=_PACES, required=False)

    def __init__(self, data: Any = None, *, rule: NoticeRule | None = None, **options: Any) -> None:
        super().__init__(data, **options)
        self._rule = rule

    def clean_labels(self) -> dict[str, str]:
        """Return the labels. Raises ValidationError if one is wrong."""
        found = {}
        for part in filter(None, (part.strip() for part in self.cleaned_data["labels"].split(","))):
            name, equals, value = part.partition("=")
            if not equals:
                raise forms.ValidationError(f"Give {name} a value: {name}=…")
            found[name.strip()] = value.strip()
        if wrong := label_rules.problems(found):
            raise forms.ValidationError([text for texts in wrong.values() for text in texts])
        return found

    def body(self) -> dict[str, Any]:
        given, pace = self.cleaned_data, self.cleaned_data["pace"]
        names = ("kinds", "labels", "wait_minutes", "url")
        body = {name: given[name] for name in names if name in self.fields}
        body["channel"] = self._rule.channel if self._rule else given["channel"]
        return body | {"digest_hour": int(pace) if pace and pace != _AT_ONCE else None}


class NewRulePage(FormPage):
    """Adds a rule of the person, or with `?organization=ID` one of that organization."""

    section = "notices"
    title = "New rule"
    button = "Add"
    form_class = RuleForm
    organization: Organization | None = None

    def prepare(self) -> None:
        """Read the organization. Raises Forbidden if the person does not administer it."""
        asked = self.request.GET.get("organization")
        if asked is not None:
            rows = Organization.objects.visible_to(self.person)
            self.organization = get_object_or_404(rows, pk=whole(asked) or 0)
            require(self.person, self.organization.pk, Role.ADMIN)
            self.title = f"New rule for {self.organization.name}"
            self.lead = "Mails go to all admins; each of them may unsubscribe."

    @property
    def back(self) -> str:
        return reverse("portal:notices")

    def make_form(self, data: Any = None) -> RuleForm:
        form = RuleForm(data)
        if self.organization:
            del form.fields["deployments"]
        else:
            organizations = Organization.objects.visible_to(self.person).order_by("name")
            field: Any = form.fields["deployments"]
            field.queryset = organizations
            field.label_from_instance = lambda row: f"All of {row.name}"
        return form

    def act(self, form: RuleForm) -> str | HttpResponse:
        chosen = self.organization or form.cleaned_data["deployments"]
        given = {name: form.given[name] for name in (*_CHANGEABLE, "channel")}
        _rule, secret = services.add(
            by=self.person,
            user=None if self.organization else self.person,
            organization=chosen,
            **given,
        )
        if secret is None:
            messages.success(self.request, "The rule is added.")
            return self.back
        return self.show_once(
            "The secret that signs",
            secret,
            lead="With it, the receiver verifies signatures. It is shown only now: keep it.",
            back=self.back,
        )

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        self.breadcrumbs = (("Notices", self.back), (self.title, None))
        return super().get_context_data(**kwargs)


class _RulePage:
    """A page of a rule that the person sees: 404 for others."""

    section = "notices"
    person: Any
    kwargs: Any
    rule: NoticeRule

    @property
    def back(self) -> str:
        return reverse("portal:notices")

    def prepare(self) -> None:
        rows = NoticeRule.objects.administered_by(self.person).select_related("organization")
        self.rule = get_object_or_404(rows, pk=self.kwargs["pk"])
        self.breadcrumbs = (("Notices", self.back), (self.title, None))

    title = ""
    breadcrumbs: Any = ()


class ChangeRulePage(_RulePage, FormPage):
    title = "Change a rule"
    button = "Change"
    form_class = RuleForm

    def make_form(self, data: Any = None) -> RuleForm:
        rule = self.rule
        initial = {
            "kinds": rule.kinds,
            "wait_minutes": rule.wait_minutes,
            "labels": ", ".join(f"{name}={value}" for name, value in rule.labels.items()),
            "pace": _AT_ONCE if rule.digest_hour is None else str(rule.digest_hour),
        }
        form = RuleForm(data, rule=rule, initial=initial)
        for name in ("deployments", "channel", *(() if rule.url else ("url",))):
            del form.fields[name]
        if rule.url:
            form.fields["url"].help_text = f"At {rule.host} so far. Leave it empty to keep it."
        return form

    def act(self, form: RuleForm) -> str:
        services.update(self.rule, changes={name: form.given[name] for name in _CHANGEABLE})
        messages.success(self.request, "The rule is changed.")
        return self.back


class DeleteRulePage(_RulePage, ConfirmPage):
    title = "Delete a rule"
    button = "Delete"

    @property
    def consequences(self) -> list[str]:
        if self.rule.channel != Channel.MAIL:
            return [
                f"Nothing is sent to {self.rule.host} any more.",
                "The list of what was sent there is deleted.",
            ]
        if self.rule.scope == Scope.OWN:
            return ["Without another rule for your own deployments, you get the usual mails."]
        return ["Its mails are not sent any more."]

    def act(self) -> str:
        services.delete(self.rule)
        messages.success(self.request, "The rule is deleted.")
        return self.back
