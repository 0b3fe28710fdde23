"""The wording of rules for notices."""

from django import template

from deployments.models import NoticeRule
from deployments.notices.kinds import Channel, Kind, Scope

register = template.Library()

_WORDS = {
    Kind.PREEMPTED: "preempted",
    Kind.FAILED: "failed",
    Kind.STARTED_LATE: "started after {} min",
    Kind.COMPLETED: "completed",
    Kind.WAITS_LONG: "waiting for {} min",
    Kind.NEVER_STARTS: "unable to start",
}


@register.filter
def when(rule: NoticeRule) -> str:
    """Return of what there are notices."""
    return ", ".join(_WORDS[Kind(kind)].format(rule.wait_minutes) for kind in rule.kinds)


@register.filter
def how(rule: NoticeRule) -> str:
    """Return by which channel and how often."""
    to = {
        Channel.MAIL: "mail to all admins" if rule.scope == Scope.ORGANIZATION else "mail",
        Channel.SLACK: f"message to {rule.host}",
        Channel.WEBHOOK: f"signed message to {rule.host}",
    }[Channel(rule.channel)]
    return to if rule.digest_hour is None else f"{to}, daily at {rule.digest_hour:02}:00 UTC"
