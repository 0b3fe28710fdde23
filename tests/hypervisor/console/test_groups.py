"""The permissions of members, staff, viewers and operators in the admin."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, Permission
from django.db.models import Model
from django.test import Client
from django.urls import reverse
from django_celery_beat.models import PeriodicTask

from accounts.models import User
from clusters.models import Cluster
from deployments.choices import Status
from deployments.models import Deployment
from hypervisor.console import groups
from hypervisor.console.urls import urlpatterns as own_urls
from orgs.models import Event, Organization
from scheduling.cycle.run import run_cycle
from scheduling.insight.operator_actions import ACTIONS, Action
from scheduling.models import SchedulingCycle
from tests.fixtures.deployments import Bring
from tests.support.factories import PASSWORD

PAGES = sorted(admin.site._registry.items(), key=lambda item: item[0]._meta.label)
MODELS = [model for model, _page in PAGES]
FOR_SUPERUSERS = {
    ("auth.Group", "delete_selected"),
    ("django_celery_beat.PeriodicTask", "delete_selected"),
    ("django_celery_beat.IntervalSchedule", "delete_selected"),
    ("django_celery_beat.CrontabSchedule", "delete_selected"),
}
"""The actions that operators do not have."""

Browser = Callable[[str], Client]


@pytest.fixture
def browser(db: None) -> Browser:
    """Return a browser in which a new staff user of the group is logged in."""

    def log_in(group: str) -> Client:
        user = User.objects.create(username=group or "nobody", is_staff=True)
        if group:
            user.groups.add(Group.objects.get(name=group))
        client = Client()
        client.force_login(user, "django.contrib.auth.backends.ModelBackend")
        return client

    return log_in


@pytest.fixture
def rows(bring: Bring, acme: Organization) -> None:
    """One row of every table that has a page of the product."""
    bring(Status.PENDING)
    bring(Status.RUNNING)
    run_cycle(acme.pk, SchedulingCycle.Trigger.MANUAL)


def addresses(model: type[Model]) -> Iterator[str]:
    """Yield the list of a model, and the page of one row if there is one."""
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
    yield reverse(f"{name}_changelist")
    for row in model._default_manager.all()[:1]:
        yield reverse(f"{name}_change", args=[row.pk])


def actions_for(client: Client, model: type[Model]) -> set[str]:
    request = client.get("/admin/").wsgi_request
    return set(admin.site._registry[model].get_actions(request))


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_viewers_see_every_page_and_other_staff_none(
    browser: Browser, rows: None, model: type[Model]
) -> None:
    viewer, operator, nobody = (browser(name) for name in (groups.VIEWERS, groups.OPERATORS, ""))

    for address in addresses(model):
        assert Client().get(address).status_code == 302
        assert nobody.get(address).status_code == 403
        assert viewer.get(address).status_code == 200
        assert operator.get(address).status_code == 200


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_operators_have_the_actions_and_viewers_none(
    browser: Browser, console: Client, model: type[Model]
) -> None:
    found = actions_for(browser(groups.OPERATORS), model)

    assert actions_for(browser(groups.VIEWERS), model) == set()
    kept = {action for label, action in FOR_SUPERUSERS if label == model._meta.label}
    assert found == actions_for(console, model) - kept


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_a_viewers_actions_do_nothing(
    browser: Browser, console: Client, rows: None, model: type[Model]
) -> None:
    viewer = browser(groups.VIEWERS)
    before = everything()
    listed, *pages = addresses(model)
    chosen = [row.pk for row in model._default_manager.all()]

    page: Any = admin.site._registry[model]
    for action in [*actions_for(console, model), *page.actions_list]:
        viewer.post(listed, {"action": action, "_selected_action": chosen, "post": "yes"})
        viewer.post(f"{listed}{str(action).replace('_', '-')}")
    answers = [viewer.post(f"{listed}add/", {})]
    for address in pages:
        answers.append(viewer.post(address, {}))
        answers.append(viewer.post(address.replace("/change/", "/delete/"), {"post": "yes"}))

    assert {answer.status_code for answer in answers} == {403}
    assert everything() == before


@pytest.mark.parametrize("action", ACTIONS.values(), ids=lambda action: action.name)
def test_a_preview_needs_the_permission_of_its_action(
    browser: Browser, rows: None, action: Action
) -> None:
    client = browser("")
    rights = User.objects.get(username="nobody").user_permissions
    needed = Permission.objects.get(codename=action.permission.split(".")[1])
    rights.set(Permission.objects.exclude(pk=needed.pk))
    subject = action.model._default_manager.all()[0]
    address = f"{reverse('preview', args=[action.name])}?id={subject.pk}"

    without = client.get(address).status_code, client.post(address).status_code
    rights.set([needed])

    assert without == (403, 403)
    assert client.get(address).status_code == 200


def test_an_operator_changes_members_but_not_staff(
    browser: Browser, alice: User, olga: User
) -> None:
    operator = browser(groups.OPERATORS)

    for person, status in ((alice, 302), (olga, 403)):
        page = reverse("admin:accounts_user_change", args=[person.pk])
        password = reverse("admin:auth_user_password_change", args=[person.pk])
        secret = {"usable_password": "true", "password1": PASSWORD, "password2": PASSWORD}
        assert operator.post(page, {"email": "new@example.org"}).status_code == status
        assert operator.post(password, secret).status_code == status


def test_an_operator_cannot_give_permissions(browser: Browser, alice: User) -> None:
    page = reverse("admin:accounts_user_change", args=[alice.pk])
    rights = {"is_staff": "on", "is_superuser": "on", "groups": [1], "user_permissions": [1]}

    browser(groups.OPERATORS).post(page, {"is_active": "on", "email": "new@example.org", **rights})

    alice.refresh_from_db()
    assert alice.email == "new@example.org"
    assert (alice.is_staff, alice.is_superuser) == (False, False)
    assert (alice.groups.count(), alice.user_permissions.count()) == (0, 0)


@pytest.mark.parametrize("right", ["is_staff", "is_superuser"])
def test_an_operator_does_not_become_another_one(browser: Browser, alice: User, right: str) -> None:
    User.objects.filter(pk=alice.pk).update(**{right: True})
    operator = browser(groups.OPERATORS)
    form = {"usable_password": "true", "password1": PASSWORD, "password2": PASSWORD}

    for name in ("accounts_user_change", "auth_user_password_change"):
        page = reverse(f"admin:{name}", args=[alice.pk])
        assert operator.post(page, form | {"email": "new@example.org"}).status_code == 403

    assert User.objects.get(pk=alice.pk).password == alice.password


def test_viewers_do_not_see_invite_codes(browser: Browser, acme: Organization) -> None:
    address = f"{reverse('admin:orgs_organization_change', args=[acme.pk])}?edit"

    assert acme.invite_code not in browser(groups.VIEWERS).get(address).content.decode()
    assert acme.invite_code in browser(groups.OPERATORS).get(address).content.decode()


def test_every_migrate_resets_the_groups(db: None) -> None:
    viewers = Group.objects.get(name=groups.VIEWERS)
    viewers.permissions.set(Permission.objects.filter(codename="delete_cluster"))

    groups.install()

    assert {p.codename.split("_")[0] for p in viewers.permissions.all()} == {"view"}


def test_operators_have_every_permission_that_is_meant_for_them(db: None) -> None:
    operators = Group.objects.get(name=groups.OPERATORS)
    have = {
        f"{permission.content_type.app_label}.{permission.codename}"
        for permission in operators.permissions.select_related("content_type")
    }
    assert {name for name in have if ".view_" not in name} == groups._OPERATE


def test_a_permission_whose_migration_is_not_applied_yet_is_left_out(db: None) -> None:
    Permission.objects.filter(codename="replay_webhook").delete()
    groups.install()
    operators = Group.objects.get(name=groups.OPERATORS)
    assert operators.permissions.filter(codename="revoke_apitoken").exists()


def everything() -> list[list[object]]:
    """Return everything that an action could change, for comparison."""
    shown: tuple[type[Model], ...] = (
        Cluster,
        Deployment,
        Organization,
        User,
        SchedulingCycle,
        Event,
        Group,
        PeriodicTask,
    )
    return [list(model._base_manager.order_by("pk").values()) for model in shown]


def own_pages(**arguments: object) -> dict[str, str]:
    """Return the addresses of the pages outside tables, by name and action."""
    found = {}
    for pattern in own_urls:
        if pattern.name == "preview":
            for name, action in ACTIONS.items():
                address = reverse("preview", args=[name])
                found[f"preview {name}"] = f"{address}?id={arguments[action.subject]}"
        elif pattern.name == "many":
            many = [name for name, action in ACTIONS.items() if action.in_parts]
            found |= {f"many {name}": reverse("many", args=[name]) for name in many}
        else:
            subject = "cluster" if pattern.name == "cluster" else "deployment"
            wanted = [arguments[subject]] if "<int:pk>" in str(pattern.pattern) else []
            found[str(pattern.name)] = reverse(str(pattern.name), args=wanted)
    return found


def test_pages_outside_tables_show_viewers_everything_but_allow_no_action(
    browser: Browser, rows: None, forge: Cluster
) -> None:
    viewer, operator, nobody = (browser(name) for name in (groups.VIEWERS, groups.OPERATORS, ""))
    deployment = Deployment.objects.filter(status=Status.RUNNING)[0].pk
    subjects = {"cluster": forge.pk, "node": forge.nodes.get().pk, "deployment": deployment}
    before = everything()

    for name, address in own_pages(**subjects).items():
        is_action = name.startswith(("preview", "many"))
        assert Client().get(address).status_code == 302, name
        # A search finds nothing for a user who may view nothing.
        assert nobody.get(address).status_code == (200 if name == "search" else 403), name
        assert viewer.get(address).status_code == (403 if is_action else 200), name
        assert operator.get(address).status_code == 200, name
        assert viewer.post(address, {"shown": ""}).status_code in (403, 405), name

    assert everything() == before


def test_every_address_of_the_admin_requires_a_log_in(browser: Browser, rows: None) -> None:
    """Including the pages of other packages and the addresses added to a page."""
    nobody = browser("")
    count = 0
    for name, address in admin_addresses():
        assert Client().get(address).status_code == 302, name
        assert nobody.get(address, follow=True).status_code == 403, name
        count += 1
    assert count > 60


def admin_addresses() -> Iterator[tuple[str, str]]:
    """Yield the name and address of every page of the admin without arguments, or for a row."""
    for model, page in PAGES:
        row = model._default_manager.order_by("pk").first()
        for pattern in page.urls:
            name = f"admin:{pattern.name}"
            if pattern.name is None:
                continue
            wanted = list(pattern.pattern.converters or pattern.pattern.regex.groupindex)
            if not wanted:
                yield name, reverse(name)
            elif row is not None and len(wanted) == 1:
                yield name, reverse(name, args=[row.pk])
