"""Cancelling and stopping the elements of an array."""

from typing import Any

import pytest
from django.urls import reverse

from accounts.models import User
from deployments.choices import Status
from deployments.models import Array, Deployment
from orgs.models import Organization
from tests.fixtures.deployments import Bring, Submit
from tests.hypervisor.portal.conftest import Browse


@pytest.fixture
def array(acme: Organization, bob: User, bring: Bring, submit: Submit) -> Array:
    """Bob's array with a running element and two pending ones; another deployment is pending."""
    made = Array.objects.create(organization=acme, name="sweep", size=3, created_by=bob)
    elements = [bring(Status.RUNNING), submit(), submit()]
    for index, element in enumerate(elements):
        Deployment.objects.filter(pk=element.pk).update(array=made, array_index=index)
    submit(name="other")
    return made


def page_of(array: Array, action: str) -> str:
    return reverse("portal:array", args=[array.pk, action])


def statuses(array: Array) -> list[str]:
    return list(array_elements(array).values_list("status", flat=True))


def array_elements(array: Array) -> Any:
    return Deployment.objects.filter(array=array).order_by("array_index")


def test_the_pending_elements_are_cancelled(browse: Browse, bob: User, array: Array) -> None:
    browser = browse(bob)
    listed = browser.get("/", {"array": array.pk}).content.decode()
    assert page_of(array, "cancel") in listed
    assert "The 2 pending elements" in browser.get(page_of(array, "cancel")).content.decode()

    answer = browser.post(page_of(array, "cancel"), follow=True)

    assert "2 elements: cancelled." in answer.content.decode()
    assert statuses(array) == ["running", "cancelled", "cancelled"]
    assert Deployment.objects.get(name="other").status == Status.PENDING


def test_the_active_elements_are_stopped(browse: Browse, bob: User, array: Array) -> None:
    browse(bob).post(page_of(array, "stop"))

    assert statuses(array) == ["stopping", "pending", "pending"]


def test_only_what_is_possible_is_offered(browse: Browse, bob: User, array: Array) -> None:
    browser = browse(bob)
    browser.post(page_of(array, "cancel"))

    listed = browser.get("/", {"array": array.pk}).content.decode()

    assert page_of(array, "cancel") not in listed
    assert page_of(array, "stop") in listed


def test_a_developer_leaves_the_arrays_of_others_alone(
    browse: Browse, alice: User, bob: User, array: Array
) -> None:
    Array.objects.update(created_by=alice)

    assert browse(bob).post(page_of(array, "cancel")).status_code == 403
    assert (
        page_of(array, "cancel") not in browse(bob).get("/", {"array": array.pk}).content.decode()
    )
    assert statuses(array) == ["running", "pending", "pending"]


def test_an_unknown_action_is_404(browse: Browse, bob: User, array: Array) -> None:
    assert browse(bob).get(page_of(array, "delete")).status_code == 404
