"""The admin's sidebar: the pages that the user may open."""

from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse

# Title, symbol and target: a model's list (app.model), or the name of a page's URL.
_GROUPS: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...] = (
    (
        "Operate",
        (
            ("Dashboard", "monitoring", "admin:index"),
            ("Queue", "format_list_numbered", "queue"),
            ("Clusters", "dns", "clusters.cluster"),
            ("Nodes", "memory", "clusters.node"),
            ("Deployments", "deployed_code", "deployments.deployment"),
            ("Cycles", "cycle", "scheduling.schedulingcycle"),
        ),
    ),
    (
        "History",
        (
            ("Events", "history", "orgs.event"),
            ("Audit trail", "policy", "accounts.auditentry"),
            ("Runs", "play_circle", "deployments.run"),
            ("Simulated containers", "package_2", "clusters.simulatedcontainer"),
        ),
    ),
    (
        "People",
        (
            ("Organizations", "apartment", "orgs.organization"),
            ("Registries", "package", "deployments.registry"),
            ("Users", "person", "accounts.user"),
            ("Groups", "group", "auth.group"),
            ("Identities", "badge", "accounts.provideridentity"),
            ("Sessions", "devices", "accounts.browsersession"),
            ("API log-ins", "key", "accounts.tokenfamily"),
            ("API tokens", "vpn_key", "orgs.apitoken"),
            ("Failed log-ins", "gpp_maybe", "axes.accessattempt"),
        ),
    ),
    (
        "Messages",
        (
            ("Webhooks", "webhook", "orgs.webhook"),
            ("Deliveries", "outbound", "orgs.delivery"),
            ("Notices", "notifications", "deployments.notice"),
            ("Notice messages", "mail", "deployments.noticemessage"),
            ("Notice rules", "rule", "deployments.noticerule"),
        ),
    ),
    (
        "Platform",
        (
            ("Periodic tasks", "schedule", "django_celery_beat.periodictask"),
            ("Intervals", "timer", "django_celery_beat.intervalschedule"),
            ("Crontabs", "calendar_month", "django_celery_beat.crontabschedule"),
            ("Idempotency keys", "fingerprint", "accounts.idempotencykey"),
        ),
    ),
)


_SHOWS = {"queue": "deployments.deployment"}
"""The model that a page shows: the permission to view the model is that of the page."""


_TITLES = {target: title for _, items in _GROUPS for title, _, target in items}


def name_of(opts: Any) -> str:
    """Return what the sidebar calls the list of a model, given its options."""
    name = f"{opts.app_label}.{opts.model_name}"
    return _TITLES.get(name) or str(opts.verbose_name_plural).capitalize()


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """Return the groups of the sidebar, in the theme's format."""
    viewable = {
        f"{model._meta.app_label}.{model._meta.model_name}"
        for model, page in admin.site._registry.items()
        if page.has_view_permission(request)
    }
    return [
        {"title": title, "items": list(_items(items, viewable)), "separator": bool(number)}
        for number, (title, items) in enumerate(_GROUPS)
    ]


def _items(items: tuple[tuple[str, str, str], ...], viewable: set[str]) -> Iterator[dict[str, str]]:
    for title, symbol, target in items:
        if _SHOWS.get(target, target) in viewable or target == "admin:index":
            name = f"admin:{target.replace('.', '_')}_changelist" if "." in target else target
            yield {"title": title, "icon": symbol, "link": reverse(name)}


def pages_named(request: HttpRequest, text: str) -> list[tuple[str, str]]:
    """Return the titles and addresses of the sidebar's pages that have the text in their title."""
    items = [item for group in sidebar(request) for item in group["items"]]
    return [(i["title"], i["link"]) for i in items if text.lower() in i["title"].lower()]
