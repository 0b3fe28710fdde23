"""Changing the specification of a deployment on its page."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import User
from clusters.models import Cluster
from deployments.choices import RestartPolicy, Status
from deployments.environment import SECRET, opened, plain, seal
from deployments.models import Array, Deployment
from orgs.models import Event
from tests.fixtures.deployments import Bring, Submit
from tests.hypervisor.portal.conftest import Browse


def page_of(deployment: Deployment) -> str:
    return reverse("portal:change", args=[deployment.pk])


def change(browser: Client, deployment: Deployment, **typed: str) -> Any:
    """Open the page, type into some of its fields, and send all of them."""
    form = browser.get(page_of(deployment)).context["form"]
    values = {field.name: field.value() for field in form if field.value() not in (None, "")}
    answer = browser.post(page_of(deployment), values | typed)
    deployment.refresh_from_db()
    return answer


def test_sent_without_a_change_it_changes_nothing(
    browse: Browse, bob: User, submit: Submit, forge: Cluster
) -> None:
    deployment = submit(
        command=("sh", "-c", "echo 'a b'"), env={"EPOCHS": "40", "TOKEN": seal("xyzzy")},
        labels={"team": "vision"}, max_runtime_s=7200, priority=70,
        requested_cluster=forge, restart_policy=RestartPolicy.ON_FAILURE, max_restarts=5, gpu=1,
        run_as={"uid": 1000, "gid": None},
    )  # fmt: skip
    answer = change(browse(bob), deployment)

    assert answer["Location"] == reverse("portal:deployment", args=[deployment.pk])
    assert not Event.objects.filter(subject_id=deployment.pk, kind="updated").exists()


def test_the_fields_of_a_pending_deployment_change(
    browse: Browse, bob: User, submit: Submit, forge: Cluster
) -> None:
    deployment = submit(command=("train",), labels={"team": "vision"}, priority=70)

    change(browse(bob), deployment, image="busybox:2", cpu="2", command="", labels="run=7")

    assert (deployment.image, deployment.cpu_milli, deployment.command) == ("busybox:2", 2000, [])
    assert (deployment.labels, deployment.priority) == ({"run": "7"}, 70)


def test_a_secret_without_a_value_is_kept_and_none_is_shown(
    browse: Browse, bob: User, submit: Submit, forge: Cluster
) -> None:
    deployment = submit(env={"EPOCHS": "40", "KEPT": seal("xyzzy"), "GONE": seal("plugh")})
    browser = browse(bob)
    shown = browser.get(page_of(deployment)).content.decode()
    assert "Stored: GONE, KEPT." in shown
    assert "xyzzy" not in shown

    change(browser, deployment, env="EPOCHS=41", secrets="KEPT=\nNEW=frotz")

    assert plain(deployment.env) == {"EPOCHS": "41"}
    assert opened(deployment.env) == {"KEPT": "xyzzy", "NEW": "frotz"}
    assert SECRET in deployment.env["NEW"]


def test_of_a_running_deployment_only_little_changes(
    browse: Browse, bob: User, bring: Bring
) -> None:
    deployment = bring(Status.RUNNING, labels={"team": "vision"})
    browser = browse(bob)
    offered = {field.name for field in browser.get(page_of(deployment)).context["form"]}
    assert offered == {"name", "labels", "restart_policy", "max_restarts"}

    change(browser, deployment, name="other", labels="", image="evil:1")

    assert (deployment.name, deployment.labels, deployment.image) == ("other", {}, "busybox")


def test_of_an_element_only_little_changes(
    browse: Browse, bob: User, submit: Submit, forge: Cluster
) -> None:
    deployment = submit(name="sweep-0")
    array = Array.objects.create(
        organization=deployment.organization, name="sweep", size=1, created_by=bob
    )
    Deployment.objects.filter(pk=deployment.pk).update(array=array, array_index=0)

    change(browse(bob), deployment, labels="run=7")

    assert (deployment.name, deployment.labels) == ("sweep-0", {"run": "7"})


@pytest.mark.parametrize(
    ("field", "value"),
    [("cpu", "many"), ("image", "no image"), ("require", "a=b\na=c"), ("gpu", "99"), ("name", "")],
)
def test_a_wrong_value_is_reported_beside_its_field(
    browse: Browse, bob: User, submit: Submit, forge: Cluster, field: str, value: str
) -> None:
    deployment = submit()

    answer = change(browse(bob), deployment, **{field: value})

    assert list(answer.context["form"].errors) == [field]
    assert (deployment.name, deployment.image) == ("job", "busybox")


def test_a_cluster_of_another_organization_is_not_offered(
    browse: Browse, bob: User, submit: Submit, forge: Cluster, globex_cluster: Cluster
) -> None:
    answer = change(browse(bob), submit(), requested_cluster=str(globex_cluster.pk))

    assert list(answer.context["form"].errors) == ["requested_cluster"]


def test_an_ended_deployment_does_not_change(browse: Browse, bob: User, bring: Bring) -> None:
    assert browse(bob).get(page_of(bring(Status.COMPLETED))).status_code == 409


def test_a_developer_changes_only_what_is_their_own(
    browse: Browse, alice: User, bob: User, submit: Submit, forge: Cluster
) -> None:
    deployment = submit(created_by=alice)

    assert browse(bob).get(page_of(deployment)).status_code == 403
    assert browse(bob).post(page_of(deployment), {"name": "mine"}).status_code == 403
