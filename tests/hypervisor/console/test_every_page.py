"""What holds for every page of the console: a heading, and the way to it."""

import re
from collections.abc import Iterator
from html import unescape

import pytest
from django.contrib import admin
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from clusters.models import Cluster
from deployments.choices import Status
from orgs.models import Organization
from scheduling.cycle.run import run_cycle
from scheduling.models import SchedulingCycle
from tests.fixtures.deployments import Bring

pytestmark = pytest.mark.django_db

MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label)
_HEADING = re.compile(r"<h1>(.*?)</h1>", re.DOTALL)
_CRUMBS = re.compile(r'<nav aria-label="Breadcrumbs">(.*?)</nav>', re.DOTALL)
_LINK = re.compile(r'<a href="([^"]+)">([^<]*)</a>')


@pytest.fixture
def world(forge: Cluster, acme: Organization, bring: Bring) -> Cluster:
    """A cluster with a node and a deployment that runs, and a cycle."""
    forge.nodes.create(name="node-1", cpu_milli=1, ram_mib=1, gpu=0, labels={})
    bring(Status.RUNNING)
    run_cycle(acme.pk, SchedulingCycle.Trigger.MANUAL)
    return forge


def pages_of(model: type[Model]) -> Iterator[str]:
    opts = model._meta
    name = f"admin:{opts.app_label}_{opts.model_name}"
    yield reverse(f"{name}_changelist")
    yield reverse(f"{name}_add")
    row = model._default_manager.first()
    if row is not None:
        yield reverse(f"{name}_change", args=[row.pk])
        yield reverse(f"{name}_change", args=[row.pk]) + "?edit"
        yield reverse(f"{name}_delete", args=[row.pk])


def other_pages(cluster: Cluster) -> Iterator[str]:
    deployment = cluster.runs.get().deployment_id
    cycle = SchedulingCycle.objects.latest("pk")
    user = cluster.organization.memberships.first()
    assert user is not None
    yield from (
        "/admin/queue/", "/admin/search/", "/admin/password_change/",
        "/admin/scheduling/schedulingcycle/run-all/",
        f"/admin/scheduling/schedulingcycle/{cycle.pk}/change/",
        f"/admin/accounts/user/{user.user_id}/password/",
        f"/admin/cluster/{cluster.pk}/", f"/admin/clusters/cluster/{cluster.pk}/connect/",
        f"/admin/deployment/{deployment}/logs/", f"/admin/preview/stop/?id={deployment}",
        f"/admin/preview/drain/?id={cluster.pk}",
    )  # fmt: skip


def check(console: Client, address: str) -> None:
    """Fail unless the page has one heading, and the way to it names each page once and rightly."""
    response = console.get(address)
    if response.status_code in (302, 403):
        return
    assert response.status_code == 200, address
    text = response.content.decode()
    (heading,) = _HEADING.findall(text)
    crumbs = _LINK.findall("".join(_CRUMBS.findall(text)))
    names = [unescape(name) for _, name in crumbs] + [unescape(heading)]
    assert all(name.strip() for name in names), (address, names)
    assert len(set(names)) == len(names), (address, names)
    for link, name in crumbs:
        assert link.split("?")[0] != address.split("?")[0] or "?edit" in address, (address, link)
        above = console.get(link)
        assert above.status_code == 200, (address, link)
        (title,) = _HEADING.findall(above.content.decode())
        assert unescape(name) in unescape(title), (address, name, title)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_the_way_to_every_page_of_a_table_is_right(
    console: Client, world: Cluster, model: type[Model]
) -> None:
    for address in pages_of(model):
        check(console, address)


def test_the_way_to_every_other_page_is_right(console: Client, world: Cluster) -> None:
    for address in other_pages(world):
        check(console, address)


def test_the_engine_of_a_cluster_is_below_the_cluster(console: Client, world: Cluster) -> None:
    text = console.get(f"/admin/clusters/cluster/{world.pk}/connect/").content.decode()

    names = [name for _, name in _LINK.findall("".join(_CRUMBS.findall(text)))]

    assert names == ["Clusters", world.name]
