"""The wording of rules for notices, on the pages of members."""

from django import template

from deployments.models import NoticeRule
from deployments.notices.kinds import Channel, Scope
from hypervisor.ui.data.notice_rules import when

register = template.Library()

register.filter("when", when)


@register.filter
def how(rule: NoticeRule) -> str:
    """Return by which channel and how often."""
    to = {
        Channel.MAIL: "mail to all admins" if rule.scope == Scope.ORGANIZATION else "mail",
        Channel.SLACK: f"message to {rule.host}",
        Channel.WEBHOOK: f"signed message to {rule.host}",
    }[Channel(rule.channel)]
    return to if rule.digest_hour is None else f"{to}, daily at {rule.digest_hour:02}:00 UTC"
