"""The wording of rules for notices."""

from deployments.models import NoticeRule
from deployments.notices.kinds import Kind

_WORDS = {
    Kind.PREEMPTED: "preempted",
    Kind.FAILED: "failed",
    Kind.STARTED_LATE: "started after {} min",
    Kind.COMPLETED: "completed",
    Kind.WAITS_LONG: "waiting for {} min",
    Kind.NEVER_STARTS: "unable to start",
}


def when(rule: NoticeRule) -> str:
    """Return of what there are notices."""
    return ", ".join(_WORDS[Kind(kind)].format(rule.wait_minutes) for kind in rule.kinds)
