"""The console's pages of things, and for the subject of an alarm."""

from urllib.parse import urlencode

from django.urls import reverse

from scheduling.monitoring.alarm import Alarm, Subject

PAGES = {
    "cluster": "cluster",
    "deployment": "admin:deployments_deployment_change",
    "deployments": "admin:deployments_deployment_changelist",
    "event": "admin:orgs_event_change",
    "logs": "logs",
    "organization": "admin:orgs_organization_change",
    "queue": "queue",
    "run": "admin:deployments_run_change",
    "runs": "admin:deployments_run_changelist",
}
"""The pages to which `{% link %}` leads, by the kind of thing."""

_SUBJECTS: dict[Subject, tuple[str, str, dict[str, str]]] = {
    Subject.CLUSTER: ("cluster", "Cluster", {}),
    Subject.CYCLES: ("admin:scheduling_schedulingcycle_changelist", "Run them now", {}),
    Subject.DEPLOYMENT: ("admin:deployments_deployment_change", "Show", {}),
    Subject.DEPLOYMENTS: (
        "admin:deployments_deployment_changelist", "Deployments", {"status": "status__exact"},
    ),
    Subject.EVENTS: ("admin:orgs_event_changelist", "Events", {"kind": "q"}),
    Subject.PERIODIC_TASKS: (
        "admin:django_celery_beat_periodictask_changelist", "Periodic tasks", {},
    ),
    Subject.QUEUE: ("queue", "Queue", {}),
    Subject.RUNS: ("admin:deployments_run_changelist", "Runs", {"outcome": "outcome__exact"}),
}  # fmt: skip
"""By subject: the page, the label of the link, and the page's parameter for a field."""


def link_of(alarm: Alarm) -> tuple[str, str] | None:
    """Return the URL and the label of the link to the alarm's subject, or None."""
    if alarm.subject is None:
        return None
    page, label, parameters = _SUBJECTS[alarm.subject]
    address = reverse(page, args=[] if alarm.pk is None else [alarm.pk])
    query = urlencode({parameters.get(name, name): v for name, v in alarm.where.items()})
    return (f"{address}?{query}" if query else address), label
