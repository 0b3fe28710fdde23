"""Operators find deployments, clusters, nodes, organizations and users by name and id."""

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from clusters.models import Cluster
from orgs.models import Organization
from tests.fixtures.deployments import Submit

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("forge")]

SEARCH = "/admin/search/"


def found(console: Client, text: str) -> str:
    response = console.get(SEARCH, {"q": text})
    assert response.status_code == 200
    return str(response.content.decode())


def test_a_deployment_is_found_by_a_part_of_its_name(console: Client, submit: Submit) -> None:
    deployment = submit(name="fraud-detector")

    page = found(console, "DETECT")

    assert "fraud-detector" in page
    assert f"/admin/deployments/deployment/{deployment.pk}/change/" in page


def test_a_deployment_is_found_by_its_id(console: Client, submit: Submit) -> None:
    deployment = submit(name="fraud-detector")

    assert "fraud-detector" in found(console, str(deployment.pk))


def test_clusters_nodes_organizations_and_users_are_found(
    console: Client, acme: Organization, forge: Cluster
) -> None:
    node = forge.nodes.create(name="rack-7", cpu_milli=1, ram_mib=1, gpu=0, labels={})

    assert f"/admin/cluster/{forge.pk}/" in found(console, forge.name)
    assert f"/admin/clusters/node/{node.pk}/change/" in found(console, "rack-7")
    assert f"/admin/orgs/organization/{acme.pk}/change/" in found(console, "acm")
    assert "/admin/accounts/user/" in found(console, "alice@example")


def test_an_exact_name_comes_before_newer_ones_that_contain_it(
    console: Client, submit: Submit
) -> None:
    submit(name="train")
    for number in range(30):
        submit(name=f"train-{number}")

    hits = found(console, "train").split('class="k-hit"')

    assert "<span>train</span>" in hits[1]


def test_an_old_deployment_of_a_long_history_is_found_by_its_id(
    console: Client, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = submit(name="old-train")
    submit(name="new-train")
    monkeypatch.setattr("hypervisor.console.search.NAMES_READ", 1)

    assert "old-train" not in found(console, "train")
    assert "old-train" in found(console, str(old.pk))


def test_a_page_of_the_console_is_found_by_its_title(console: Client) -> None:
    assert 'href="/admin/accounts/auditentry/"' in found(console, "audit").split("k-results")[1]


def test_a_search_without_a_hit_says_so(console: Client) -> None:
    assert "Nothing that you may view" in found(console, "nonesuch")


def test_a_search_finds_only_what_the_operator_may_view(
    bob: User, forge: Cluster, submit: Submit
) -> None:
    submit(name="forge-of-secrets")
    User.objects.filter(pk=bob.pk).update(is_staff=True)
    bob.user_permissions.add(Permission.objects.get(codename="view_cluster"))
    browser = Client()
    browser.force_login(bob, "django.contrib.auth.backends.ModelBackend")

    page = found(browser, "forge")

    assert f"/admin/cluster/{forge.pk}/" in page
    assert "forge-of-secrets" not in page


def test_the_list_while_typing_is_short_and_leads_to_all(console: Client, submit: Submit) -> None:
    for number in range(9):
        submit(name=f"train-{number}")

    response = console.get(SEARCH, {"q": "train"}, headers={"HX-Request": "true"})

    text = response.content.decode()
    assert "<html" not in text
    assert text.count("k-hit") == 5
    assert "/admin/search/?q=train" in text


def test_a_search_does_not_read_more_with_more_rows(console: Client, submit: Submit) -> None:
    counts = []
    for more in (1, 30):
        for number in range(more):
            submit(name=f"train-{more}-{number}")
        with CaptureQueriesContext(connection) as queries:
            found(console, "train")
        counts.append(len(queries))

    assert counts[0] == counts[1]


@pytest.mark.parametrize("text", ["%", "_", "\\", "'", "<b>", "9" * 40, "٣", "\x00"])
def test_odd_text_is_only_text(console: Client, text: str) -> None:
    assert "<b>" not in found(console, text)
