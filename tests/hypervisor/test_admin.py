import pytest
from django.contrib import admin
from django.db.models import Model
from django.test import Client
from django.urls import reverse
from unfold.admin import ModelAdmin

from accounts.models import User
from orgs.models import Organization

pytestmark = pytest.mark.django_db

MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label)


@pytest.fixture
def console(olga: User) -> Client:
    client = Client()
    client.force_login(olga)
    return client


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_every_list_opens_and_searches(
    console: Client, model: type[Model], acme: Organization
) -> None:
    url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")

    assert console.get(url).status_code == 200
    assert console.get(url, {"q": "7"}).status_code in (200, 302)
    assert console.get(url, {"q": "7"}, follow=True).status_code == 200


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_every_form_opens_for_those_who_may_add(console: Client, model: type[Model]) -> None:
    url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_add")
    request = console.get("/admin/").wsgi_request
    may = admin.site._registry[model].has_add_permission(request)

    assert console.get(url).status_code == (200 if may else 403)


def test_every_page_has_one_look() -> None:
    assert [m for m, page in admin.site._registry.items() if not isinstance(page, ModelAdmin)] == []


def test_a_member_who_is_no_operator_does_not_get_in(alice: User) -> None:
    client = Client()
    client.force_login(alice)

    response = client.get("/admin/")

    assert response.status_code == 302
    assert response.headers["Location"].startswith("/admin/login/")
