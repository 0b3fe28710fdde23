import pytest
from django.contrib import admin
from django.db.models import Model
from django.test import Client
from django.urls import reverse
from django_celery_beat.models import IntervalSchedule, PeriodicTask
from rest_framework.test import APIClient
from unfold.admin import ModelAdmin

from accounts.models import TokenFamily, User
from orgs.models import Organization
from tests.support.factories import PASSWORD, UserFactory

pytestmark = pytest.mark.django_db

LOG_INS = "/admin/accounts/tokenfamily/"
MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_every_list_opens_and_searches(
    console: Client, model: type[Model], acme: Organization
) -> None:
    url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")

    assert console.get(url).status_code == 200
    assert console.get(url, {"q": "7"}).status_code in (200, 302)
    assert console.get(url, {"q": "7"}, follow=True).status_code == 200


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_every_form_opens_for_users_who_may_add(console: Client, model: type[Model]) -> None:
    url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_add")
    request = console.get("/admin/").wsgi_request
    may = admin.site._registry[model].has_add_permission(request)

    assert console.get(url).status_code == (200 if may else 403)


def test_every_page_has_one_look() -> None:
    assert [m for m, page in admin.site._registry.items() if not isinstance(page, ModelAdmin)] == []


def test_a_member_who_is_no_operator_is_refused(alice: User) -> None:
    client = Client()
    client.force_login(alice, "django.contrib.auth.backends.ModelBackend")

    response = client.get("/admin/", follow=True)

    assert response.status_code == 403
    assert "not an operator" in response.content.decode()


@pytest.fixture
def pair(db: None) -> dict[str, str]:
    """The tokens of dora, who has logged in to the API."""
    UserFactory(username="dora")
    body = {"username": "dora", "password": PASSWORD}
    return dict(APIClient().post("/token", body, format="json").json())


def test_operators_see_who_is_logged_in_and_never_a_token(
    console: Client, pair: dict[str, str]
) -> None:
    page = console.get(LOG_INS).content.decode()
    family = TokenFamily.objects.get()
    form = console.get(f"{LOG_INS}{family.pk}/change/").content.decode()

    assert "dora" in page
    assert "dora" in form
    assert pair["refresh_token"] not in page + form
    assert family.token_id not in page + form


def test_operators_end_a_log_in(console: Client, pair: dict[str, str]) -> None:
    selected = {"action": "end", "_selected_action": [TokenFamily.objects.get().pk]}

    console.post(LOG_INS, selected)
    console.post(LOG_INS, selected)

    body = {"refresh_token": pair["refresh_token"]}
    assert APIClient().post("/token/refresh", body, format="json").status_code == 401


def test_operators_change_how_often_a_periodic_task_runs(console: Client) -> None:
    every = IntervalSchedule.objects.create(every=30, period="seconds")
    task = PeriodicTask.objects.create(name="tried", task="tried", interval=every)
    faster = IntervalSchedule.objects.create(every=5, period="seconds")
    url = f"/admin/django_celery_beat/periodictask/{task.pk}/change/"
    form = {
        "name": "tried", "task": "tried", "enabled": "on", "interval": faster.pk,
        "args": "[]", "kwargs": "{}", "headers": "{}",
    }  # fmt: skip

    assert console.get(url).status_code == 200
    response = console.post(url, form)

    assert response.status_code == 302
    task.refresh_from_db()
    assert task.interval == faster


def test_the_browser_may_load_nothing_from_other_hosts(console: Client) -> None:
    policy = console.get("/admin/").headers["Content-Security-Policy"]

    directives = dict(part.split(maxsplit=1) for part in policy.split(";"))
    assert directives["default-src"] == "'none'"
    assert "unsafe-inline" not in directives["script-src"]
    assert "http" not in policy
