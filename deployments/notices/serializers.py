"""The REST representation of rules, without their addresses, and of messages."""

from typing import Any

from rest_framework import serializers

from deployments.fields import LabelsField
from deployments.models import NoticeMessage, NoticeRule
from deployments.notices.kinds import DEFAULT_KINDS, DEFAULT_WAIT_MINUTES, Channel, Kind, Scope
from hypervisor.base.names import TextSerializerField
from hypervisor.rest.schemas import example
from hypervisor.rest.serializers import (
    BooleanField,
    ChoiceField,
    IdField,
    IntegerField,
    StrictModelSerializer,
)
from orgs.webhooks import targets

_LONGEST_WAIT_MINUTES = 60 * 24 * 30

NOTICE_RULE: dict[str, Any] = {
    "id": 1,
    "scope": "organization",
    "organization": 1,
    "kinds": ["preempted", "failed"],
    "labels": {"team": "vision"},
    "wait_minutes": 15,
    "channel": "slack",
    "host": "hooks.slack.com",
    "digest_hour": None,
    "enabled": True,
    "disabled_reason": "",
    "failing_since": None,
    "created_by": "alice",
    "created_at": "2026-01-05T09:00:00Z",
    "updated_at": "2026-01-05T09:00:00Z",
}
_GIVEN = {
    "scope": "organization",
    "kinds": ["preempted", "failed"],
    "labels": {"team": "vision"},
    "channel": "slack",
    "url": "https://hooks.slack.com/services/T0000/B0000/XXXX",
}
_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwq0aBcDeFgHi="  # noqa: S105
"""Parts of the examples in the OpenAPI document; no service has issued the secret."""


@example(body=_GIVEN, change={"enabled": False}, answer=NOTICE_RULE)
class NoticeRuleSerializer(StrictModelSerializer[NoticeRule]):
    """Which notices somebody gets, and how."""

    scope = ChoiceField(
        choices=Scope.choices,
        required=False,
        default=Scope.OWN,
        help_text="`own`: the caller gets notices about the deployments that the caller submitted;"
        " `all`: the caller gets them about all deployments of the `organization`; `organization`:"
        " the rule is the organization's, and its mails go to all admins, which only admins may"
        " decide.",
    )
    organization = IdField(
        source="organization_id",
        required=False,
        allow_null=True,
        default=None,
        help_text="An organization's id, null for the scope `own`. Other scopes need it only if the"
        " caller is a member of several organizations.",
    )
    kinds = serializers.ListField(
        child=ChoiceField(choices=Kind.choices),
        required=False,
        default=list(DEFAULT_KINDS),
        allow_empty=False,
        max_length=len(Kind),
        help_text="Of what there are notices.",
    )
    labels = LabelsField(required=False, default=dict)
    wait_minutes = IntegerField(
        required=False,
        default=DEFAULT_WAIT_MINUTES,
        min_value=1,
        max_value=_LONGEST_WAIT_MINUTES,
        help_text="How long a wait is long, for `started_late` and `waits_long`.",
    )
    channel = ChoiceField(
        choices=Channel.choices,
        required=False,
        default=Channel.MAIL,
        help_text='`mail`; `slack`: a POST of `{"text": …}` to the `url`; `webhook`: a signed'
        " message as Standard Webhooks says.",
    )
    url = TextSerializerField(
        max_length=targets.LONGEST,
        required=False,
        allow_blank=True,
        default="",
        write_only=True,
        help_text="The address for `slack` and `webhook`, with the same limits as a webhook's. No"
        " response shows it, because it may contain a password.",
    )
    digest_hour = IntegerField(
        required=False,
        allow_null=True,
        default=None,
        min_value=0,
        max_value=23,
        help_text="The hour of the day (UTC) of one message with all notices; null: at once.",
    )
    enabled = BooleanField(
        required=False,
        default=True,
        help_text="Whether it holds. A rule of the scope `own` that does not hold also switches off"
        " what a person gets by default.",
    )
    failing_since = serializers.DateTimeField(
        read_only=True,
        allow_null=True,
        help_text="Since when the address cannot be reached, null if it can.",
    )
    created_by = serializers.SlugRelatedField[Any](
        slug_field="username", read_only=True, allow_null=True
    )

    class Meta:
        model = NoticeRule
        fields = [*NOTICE_RULE, "url"]
        read_only_fields = ["id", "host", "disabled_reason", "created_at", "updated_at"]
        extra_kwargs = {
            "host": {"help_text": "The host of the `url`; empty for mails."},
            "disabled_reason": {"help_text": "Why the service has disabled it, else empty."},
            "updated_at": {"help_text": "When it was last changed."},
        }

    def validate_kinds(self, kinds: list[str]) -> list[str]:
        return [kind for kind in Kind.values if kind in kinds]

    def validate(self, attrs: Any) -> Any:
        if self.instance is not None:
            _check_unchanged(self.instance, attrs, ("scope", "organization_id", "channel"))
        elif attrs["scope"] == Scope.OWN and attrs["organization_id"] is not None:
            raise serializers.ValidationError(
                {"organization": "Leave the organization out, or choose another `scope`."}
            )
        return attrs


def _check_unchanged(rule: NoticeRule, attrs: dict[str, Any], names: tuple[str, ...]) -> None:
    """Remove these fields, which a rule keeps. Raises ValidationError if one differs."""
    for name in names:
        if attrs.pop(name, None) not in (None, getattr(rule, name)):
            field = name.removesuffix("_id")
            raise serializers.ValidationError(
                {field: f"A rule cannot change its {field}: leave it out, or add another rule."}
            )


@example(answer={**NOTICE_RULE, "channel": "webhook", "secret": _SECRET})
class NewNoticeRuleSerializer(NoticeRuleSerializer):
    """A new rule, with the secret that signs its messages."""

    secret = serializers.SerializerMethodField(
        help_text="With it, the receiver verifies signatures. No other call shows it. It is null"
        " for other channels than `webhook`, and in the replay of a repeated request."
    )

    class Meta(NoticeRuleSerializer.Meta):
        fields = [*NoticeRuleSerializer.Meta.fields, "secret"]

    def get_secret(self, rule: NoticeRule) -> str | None:
        secret: str | None = self.context["secret"]
        return secret

    def to_internal_value(self, data: Any) -> Any:
        raise NotImplementedError("A request has no secret: read it with NoticeRuleSerializer.")


@example(
    answer={
        "id": 42,
        "rule": None,
        "subject": "train-7 was preempted for fraud-check (priority 90)",
        "is_test": False,
        "status": "sent",
        "attempts": 1,
        "next_attempt_at": None,
        "error": "",
        "created_at": "2026-01-05T09:10:11Z",
        "sent_at": "2026-01-05T09:10:12Z",
    }
)
class NoticeMessageSerializer(serializers.ModelSerializer[NoticeMessage]):
    """A message with one or more notices."""

    rule = serializers.IntegerField(
        source="recipient.rule_id",
        read_only=True,
        allow_null=True,
        help_text="The id of the rule to whose address it goes; null for a mail to the caller.",
    )

    class Meta:
        model = NoticeMessage
        fields = [
            "id", "rule", "subject", "is_test", "status", "attempts", "next_attempt_at", "error",
            "created_at", "sent_at",
        ]  # fmt: skip
        extra_kwargs = {
            "is_test": {"help_text": "Whether somebody asked for it, to try the address."},
            "status": {
                "help_text": "`dropped`: the recipient may not get it any more, or wants no mails."
            },
            "attempts": {"help_text": "How often it was sent."},
            "next_attempt_at": {"help_text": "When it is sent again; null if it is not."},
            "error": {"help_text": "Why the last attempt failed, or why it was dropped."},
        }
