"""The admin writes only through services."""

import sys
from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.db import connection
from django.test import Client
from django.urls import reverse

from accounts.models import User
from clusters.models import Cluster
from deployments.choices import Status
from deployments.models import Deployment
from hypervisor.console.bases import HistoryAdmin, ServiceAdmin
from orgs.models import Organization
from tests.fixtures.deployments import Bring
from tests.support.console import confirm
from tests.support.factories import PASSWORD

APPS = ("accounts", "orgs", "clusters", "deployments", "scheduling")
TABLES = {
    model._meta.db_table
    for app in APPS
    for model in apps.get_app_config(app).get_models(include_auto_created=True)
    if not model._meta.proxy
}
SERVICES = {
    *(f"{app}.services" for app in APPS), "accounts.sessions.engine", "accounts.tokens",
    "deployments.lifecycle", "deployments.moves", "scheduling.cycle.run",
}  # fmt: skip
"""The modules that may write."""


@pytest.fixture
def writes() -> Iterator[list[str]]:
    """Return a list that fills with the tables that are written; fail if no service writes them."""
    seen: list[str] = []

    def look(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        words = sql.replace('"', " ").split()
        if {"INSERT", "UPDATE", "DELETE"} & set(words):
            target = next((word for word in words if word in TABLES), None)
            if target and "FOR" not in words[-6:]:
                assert SERVICES & set(modules()), f"past the services: {sql}"
                seen.append(target)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(look):
        yield seen


def modules() -> Iterator[str]:
    """Yield the modules on the call stack."""
    frame = sys._getframe(1)
    while frame:
        yield frame.f_globals.get("__name__", "")
        frame = frame.f_back  # type: ignore[assignment]


def test_every_page_of_the_product_writes_by_services_or_not_at_all() -> None:
    pages = {m: p for m, p in admin.site._registry.items() if m._meta.app_label in APPS}

    assert pages
    for page in pages.values():
        assert isinstance(page, ServiceAdmin | HistoryAdmin)
        if isinstance(page, ServiceAdmin):
            assert type(page).save_model is not ServiceAdmin.save_model


def test_users_are_written_by_services(console: Client, bob: User, writes: list[str]) -> None:
    passwords = {"usable_password": "true", "password1": PASSWORD, "password2": PASSWORD}
    console.post(reverse("admin:accounts_user_add"), {"username": "erin", **passwords})
    page = reverse("admin:accounts_user_change", args=[bob.pk])
    group = {"groups": [1], "is_staff": "on", "is_active": "on"}
    console.post(page, {"email": "bob@example.com", **group})
    console.post(reverse("admin:auth_user_password_change", args=[bob.pk]), passwords)

    bob.refresh_from_db()
    assert bob.check_password(PASSWORD)
    assert (bob.email, bob.is_staff, bob.groups.count()) == ("bob@example.com", True, 1)
    assert set(writes) == {
        "accounts_browsersession",
        "accounts_user",
        "accounts_user_groups",
        "accounts_tokenfamily",
        "orgs_apitoken",
    }


def test_organizations_are_written_by_services(
    console: Client, alice: User, bob: User, writes: list[str]
) -> None:
    add = reverse("admin:orgs_organization_add")
    console.post(add, {"name": "Initech", "owner": alice.pk})
    initech = Organization.objects.get(name="Initech")
    console.post(
        reverse("admin:orgs_organization_change", args=[initech.pk]),
        {
            "name": "Initrode", "memberships-TOTAL_FORMS": 2, "memberships-INITIAL_FORMS": 1,
            "memberships-0-id": initech.memberships.get().pk, "memberships-0-role": "owner",
            "memberships-0-organization": initech.pk, "memberships-0-user": alice.pk,
            "memberships-1-organization": initech.pk, "memberships-1-user": bob.pk,
            "memberships-1-role": "viewer",
        },
    )  # fmt: skip
    listed = reverse("admin:orgs_organization_changelist")
    for action in ("regenerate_invite", "delete_selected"):
        console.post(listed, {"action": action, "_selected_action": [initech.pk], "post": "yes"})

    assert {"orgs_organization", "orgs_membership", "orgs_event"} <= set(writes)
    assert not Organization.objects.exists()


def test_clusters_and_deployments_are_written_by_services(
    console: Client, acme: Organization, bring: Bring, forge: Cluster, writes: list[str]
) -> None:
    waiting, running = bring(Status.PENDING), bring(Status.RUNNING)
    writes.clear()

    console.post(
        reverse("admin:clusters_cluster_add"),
        {"organization": acme.pk, "name": "anvil", "cpu_milli": 9000, "ram_mib": 20000, "gpu": 2},
    )
    console.post(reverse("admin:clusters_cluster_change", args=[forge.pk]), {"name": "furnace"})
    confirm(console, "resize", forge, cpu=9, ram="20Gi", gpu=2)
    for action in ("drain", "uncordon", "cordon"):
        confirm(console, action, forge)
    options = {"reprioritize": {"priority": 7}}
    for action in ("reprioritize", "hold", "release", "cancel"):
        confirm(console, action, waiting, **options.get(action, {}))
    for action in ("requeue", "cancel"):
        confirm(console, action, running)
    for row in (waiting, running, forge):
        page = f"admin:{row._meta.app_label}_{row._meta.model_name}_changelist"
        body = {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"}
        console.post(reverse(page), body)

    assert {"clusters_cluster", "deployments_deployment", "deployments_run"} <= set(writes)
    assert [cluster.name for cluster in Cluster.objects.all()] == ["anvil"]
    assert not Deployment.objects.exists()
