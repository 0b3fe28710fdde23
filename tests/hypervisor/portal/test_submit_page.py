"""The page to submit a deployment."""

from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse

from accounts.models import User
from clusters.models import Cluster
from deployments.choices import Status
from deployments.environment import opened
from deployments.models import Array, Deployment
from orgs.models import Membership, Organization, Role
from tests.fixtures.deployments import Bring, MemberAs, Submit
from tests.hypervisor.portal.conftest import Browse

PAGE = "/my/submit/"
JOB = {"name": "train", "image": "ml/train:1", "cpu": "4", "ram_mib": "8Gi", "gpu": "0"}


def send(browser: Client, do: str = "submit", **fields: Any) -> Any:
    """Open the page, fill in the form and press the button."""
    key = browser.get(PAGE).context["form"]["key"].value()
    return browser.post(PAGE, {"key": key, "priority": "50", **JOB, **fields, "do": do})


def errors(response: Any) -> dict[str, list[str]]:
    return dict(response.context["form"].errors)


def test_a_submission_leads_to_the_deployment(browse: Browse, bob: User, forge: Cluster) -> None:
    response = send(browse(bob))

    row = Deployment.objects.get()
    assert response["Location"] == reverse("portal:deployment", args=[row.pk])
    assert [str(m) for m in get_messages(response.wsgi_request)] == ["train: submitted."]
    assert (row.name, row.cpu_milli, row.ram_mib, row.gpu) == ("train", 4000, 8192, 0)
    assert (row.created_by, row.status) == (bob, Status.PENDING)


def test_every_field_arrives(browse: Browse, bob: User, submit: Submit, forge: Cluster) -> None:
    first = submit(name="prepare")

    send(
        browse(bob),
        command="python train.py --epochs '4 0'",
        env="EPOCHS=40\nMODE=a=b",
        secrets="TOKEN=xyzzy",
        labels="team=vision, run=42",
        require="!spot",
        prefer="zone=a *5",
        requested_cluster=forge.pk,
        max_runtime_s="90m",
        restart_policy="on-failure",
        max_restarts="7",
        depends_on=str(first.pk),
        on_dependency_failure="cancel",
        run_as="1000:100",
        ephemeral_storage_mib="2Gi",
        priority="70",
    )

    row = Deployment.objects.get(name="train")
    assert row.command == ["python", "train.py", "--epochs", "4 0"]
    assert (row.env["EPOCHS"], row.env["MODE"]) == ("40", "a=b")
    assert opened(row.env) == {"TOKEN": "xyzzy"}
    assert row.labels == {"team": "vision", "run": "42"}
    assert row.require == {"spot": {"exists": False}}
    assert row.prefer == {"zone": {"in": ["a"], "weight": 5}}
    assert row.requested_cluster == forge
    assert (row.max_runtime_s, row.restart_policy, row.max_restarts) == (5400, "on-failure", 7)
    assert [wait.on for wait in row.dependencies.all()] == [first]
    assert row.on_dependency_failure == "cancel"
    assert row.run_as == {"uid": 1000, "gid": 100}
    assert (row.ephemeral_storage_mib, row.priority) == (2048, 70)


def test_an_array_leads_to_the_list_of_its_elements(
    browse: Browse, bob: User, forge: Cluster
) -> None:
    response = send(browse(bob), array="5", at_once="2")

    array = Array.objects.get()
    assert (array.size, array.at_once) == (5, 2)
    assert response["Location"] == f"/?array={array.pk}"


def test_sent_twice_it_is_submitted_once(browse: Browse, bob: User, forge: Cluster) -> None:
    browser = browse(bob)
    key = browser.get(PAGE).context["form"]["key"].value()

    first = browser.post(PAGE, {"key": key, **JOB, "do": "submit"})
    second = browser.post(PAGE, {"key": key, **JOB, "do": "submit"})
    changed = browser.post(PAGE, {"key": key, **JOB, "name": "other", "do": "submit"})

    assert first["Location"] == second["Location"] != changed["Location"]
    (told,) = [str(message) for message in get_messages(second.wsgi_request)][-1:]
    assert "was not submitted again" in told
    assert list(Deployment.objects.order_by("pk").values_list("name", flat=True)) == [
        "train", "other",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"name": ""}, "name", "required"),
        ({"image": "UPPER CASE"}, "image", "image"),
        ({"cpu": "much"}, "cpu", "CPU must be in cores"),
        ({"ram_mib": "8 elephants"}, "ram_mib", "RAM must be"),
        ({"priority": "101"}, "priority", "100"),
        ({"gpu": "40"}, "gpu", "GPU"),
        ({"env": "EPOCHS"}, "env", "NAME=value"),
        ({"env": "1A=x"}, "env", "cannot be the name"),
        ({"labels": "=x"}, "labels", "not a label"),
        ({"require": "zone="}, "require", ""),
        ({"depends_on": "99999"}, "depends_on", "99999"),
        ({"at_once": "2"}, "array", "Give a whole number from 1"),
        ({"array": "2", "at_once": "0"}, "at_once", "greater than or equal to 1"),
        ({"max_runtime_s": "soon"}, "max_runtime_s", "90m"),
        ({"requested_cluster": "99999"}, "requested_cluster", "valid choice"),
    ],
)
def test_a_wrong_value_is_reported_beside_its_field_and_what_was_typed_is_kept(
    browse: Browse,
    bob: User,
    forge: Cluster,
    fields: dict[str, str],
    field: str,
    words: str,
) -> None:
    response = send(browse(bob), **fields)

    assert list(errors(response)) == [field]
    assert words in errors(response)[field][0]
    assert not Deployment.objects.exists()
    for name, value in fields.items():
        assert response.context["form"][name].value() == value


def test_all_wrong_values_are_reported_at_once(browse: Browse, bob: User, forge: Cluster) -> None:
    wrong = {"image": "NO image", "command": "'open", "cpu": "many", "priority": "101"}

    assert set(errors(send(browse(bob), **wrong))) == set(wrong)


def test_the_preview_says_where_it_would_start(browse: Browse, bob: User, forge: Cluster) -> None:
    response = send(browse(bob), "preview")

    assert "Would start now on forge, evicting nobody." in response.content.decode()
    assert response.context["form"]["name"].value() == "train"
    assert not Deployment.objects.exists()


def test_the_preview_names_whom_it_would_evict_and_what_they_lose(
    browse: Browse, bob: User, alice: User, bring: Bring
) -> None:
    victim = bring(Status.RUNNING, name="hers", cpu_milli=8000, priority=20, created_by=alice)

    page = send(browse(bob), "preview", priority="90").content.decode()

    assert "Would start now on forge, evicting 1 deployment." in page
    assert f'href="/my/deployments/{victim.pk}/">hers</a>' in page
    assert "priority 20, loses" in page


def test_the_preview_says_why_it_would_wait_and_its_place(
    browse: Browse, bob: User, bring: Bring, submit: Submit
) -> None:
    bring(Status.RUNNING, cpu_milli=8000, priority=90)
    submit(cpu_milli=4000, priority=60)

    page = send(browse(bob), "preview").content.decode()

    assert "Would wait at place 2 of 2 in the queue." in page


def test_the_preview_of_an_array_counts_its_elements(
    browse: Browse, bob: User, forge: Cluster
) -> None:
    page = send(browse(bob), "preview", array="5").content.decode()

    assert "2 of 5 elements would start now, evicting nobody." in page


def test_a_script_gets_the_outcome_alone(browse: Browse, bob: User, forge: Cluster) -> None:
    browser = browse(bob)
    key = browser.get(PAGE).context["form"]["key"].value()
    headers = {"X-Fragment": "outcome"}

    good = browser.post(PAGE, {"key": key, **JOB}, headers=headers).content.decode()
    bad = browser.post(PAGE, {"key": key, **JOB, "cpu": "x"}, headers=headers).content.decode()

    assert "<form" not in good + bad
    assert "Would start now on forge" in good
    assert "<strong>CPU</strong>: CPU must be in cores" in bad


def test_a_viewer_is_refused(browse: Browse, member_as: MemberAs, forge: Cluster) -> None:
    response = send(browse(member_as(Role.VIEWER)))

    assert "needs the role developer or higher" in errors(response)["__all__"][0]
    assert not Deployment.objects.exists()


def test_a_viewer_is_told_so_instead_of_filling_in_a_form(
    browse: Browse, member_as: MemberAs, forge: Cluster
) -> None:
    page = browse(member_as(Role.VIEWER)).get(PAGE).content.decode()

    assert "Ask an admin of your organization for the role developer" in page
    assert 'name="image"' not in page


def test_only_organizations_are_offered_to_which_the_person_may_submit(
    browse: Browse, bob: User, acme: Organization, globex: Organization
) -> None:
    Membership.objects.create(organization=globex, user=bob, role=Role.VIEWER)

    form = browse(bob).get(PAGE).context["form"]

    assert list(form.fields["organization"].queryset) == [acme]


def test_the_organization_of_the_latest_deployment_is_chosen(
    browse: Browse, bob: User, globex: Organization, globex_cluster: Cluster, forge: Cluster
) -> None:
    Membership.objects.create(organization=globex, user=bob, role=Role.DEVELOPER)
    browser = browse(bob)
    send(browser, organization=globex.pk)

    assert browser.get(PAGE).context["form"]["organization"].value() == globex.pk


def test_a_member_of_several_organizations_chooses_one(
    browse: Browse, bob: User, globex: Organization, globex_cluster: Cluster, forge: Cluster
) -> None:
    Membership.objects.create(organization=globex, user=bob, role=Role.DEVELOPER)

    send(browse(bob), organization=globex.pk)

    assert Deployment.objects.get().organization == globex


def test_the_cluster_of_another_organization_is_refused(
    browse: Browse, bob: User, globex_cluster: Cluster, forge: Cluster
) -> None:
    response = send(browse(bob), requested_cluster=globex_cluster.pk)

    assert list(errors(response)) == ["requested_cluster"]


def test_another_one_like_it_has_its_values_but_no_secret(
    browse: Browse, bob: User, forge: Cluster
) -> None:
    browser = browse(bob)
    send(
        browser,
        command="echo 'a b'",
        env="EPOCHS=40",
        secrets="TOKEN=xyzzy",
        labels="team=vision",
        require="!spot",
        max_runtime_s="2h",
    )
    first = Deployment.objects.get()

    page = browser.get(PAGE, {"like": first.pk})
    form = page.context["form"]
    values = {field.name: field.value() for field in form if field.value() not in (None, "")}
    without_secret = browser.post(PAGE, {**values, "do": "submit"})
    again = browser.post(PAGE, {**values, "secrets": "TOKEN=new", "do": "submit"})

    assert "xyzzy" not in page.content.decode()
    assert form.more_is_needed
    assert "TOKEN has no value" in errors(without_secret)["secrets"][0]
    assert again.status_code == 302
    second = Deployment.objects.get(pk__gt=first.pk)
    for name in ("name", "image", "command", "labels", "require", "max_runtime_s", "ram_mib"):
        assert getattr(second, name) == getattr(first, name)


def test_another_one_like_an_element_is_another_array(
    browse: Browse, bob: User, forge: Cluster
) -> None:
    browser = browse(bob)
    send(browser, array="3", at_once="2", env="EPOCHS=40")
    element = Deployment.objects.order_by("pk")[1]

    form = browser.get(PAGE, {"like": element.pk}).context["form"]
    values = {field.name: field.value() for field in form if field.value() not in (None, "")}
    browser.post(PAGE, {**values, "do": "submit"})

    first, second = Array.objects.order_by("pk")
    assert (second.name, second.size, second.at_once) == (first.name, 3, 2)
    assert values["env"] == "EPOCHS=40"


def test_a_stranger_copies_nothing(
    browse: Browse, charlie: User, globex: Organization, submit: Submit, forge: Cluster
) -> None:
    page = browse(charlie).get(PAGE, {"like": submit(name="secret-project").pk})

    assert "secret-project" not in page.content.decode()


def test_without_an_organization_it_says_what_is_missing(browse: Browse, charlie: User) -> None:
    assert "not a member of an organization yet" in browse(charlie).get(PAGE).content.decode()
