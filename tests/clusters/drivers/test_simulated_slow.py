"""A driver added by one folder and one line in KINDS, and everything that then offers it."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from io import StringIO

import pytest
import time_machine
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from drf_spectacular import plumbing
from rest_framework.test import APIClient

from accounts.models import User
from clusters import watching
from clusters.capacity import Capacity
from clusters.drivers.base import Phase
from clusters.drivers.kinds import KINDS
from clusters.models import Cluster, Connection
from clusters.services import create, update
from deployments.choices import Status
from hypervisor.base.errors import Conflict
from orgs.models import Organization
from tests.fixtures.deployments import Bring
from tests.fixtures.people import ClientFor
from tests.support import simulated_slow
from tests.support.driver_contract import Bench, DriverContract, MemoryContract, Program
from tests.support.reconcile import driver_of, only_engine, reconcile
from tests.support.simulated_bench import SimulatedBench
from tests.support.simulated_slow import KIND
from tests.support.simulated_slow.driver import SlowDriver, endpoint

pytestmark = pytest.mark.django_db

NAME = "simulated_slow"


@pytest.fixture
def bench(acme: Organization) -> Bench:
    capacity = Capacity(8000, 16384, 0)
    own, other = (
        Connection(
            cluster=create(actor="alice", organization=acme, name=name, capacity=capacity),
            endpoint=endpoint(1),
        )
        for name in ("own", "other")
    )
    return SimulatedBench(own, other, SlowDriver)


class TestSimulatedSlow(DriverContract, MemoryContract):
    @pytest.fixture
    def bench(self, bench: Bench) -> Bench:
        return bench


def test_a_container_runs_only_after_its_image_is_pulled(bench: Bench) -> None:
    spec = bench.spec(Program.SUCCEEDS, uid=Connection().uid)
    phases = []
    bench.driver.start(spec, bench.now())

    for _ in range(3):
        phases += [o.phase for o in bench.driver.observe(bench.now())]
        bench.pass_time()

    assert phases == [Phase.PREPARING, Phase.PREPARING, Phase.EXITED]


def test_a_container_that_is_stopped_while_its_image_is_pulled_never_starts(bench: Bench) -> None:
    uid = Connection().uid
    bench.driver.start(bench.spec(Program.SLEEPS, uid), bench.now())

    ending = bench.stopped(uid, 0)

    assert ending.started_at is None


# --- One folder and one line ----------------------------------------------------------------------


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(KINDS, NAME, "tests.support.simulated_slow.KIND")
    # A process reads the kinds once for the names in its OpenAPI document.
    plumbing._load_enum_name_overrides.cache_clear()
    yield
    plumbing._load_enum_name_overrides.cache_clear()


def connect(*options: str) -> str:
    output = StringIO()
    call_command("connect_cluster", "forge", "--simulated-slow", *options, stdout=output)
    return output.getvalue()


def test_the_command_connects_a_cluster_to_the_new_kind(registered: None, forge: Cluster) -> None:
    output = connect("--fetch-seconds", "20")

    assert "simulated, images in 20 s with 8 CPU" in output
    forge.refresh_from_db()
    assert (forge.driver, forge.connections.get().endpoint) == (NAME, "slow:20")
    assert isinstance(driver_of(forge), SlowDriver)


def test_the_command_keeps_options_that_are_not_given(registered: None, forge: Cluster) -> None:
    connect("--fetch-seconds", "20")

    connect()

    assert Connection.objects.get().endpoint == "slow:20"


def test_the_page_connects_a_cluster_to_the_new_kind(
    registered: None, forge: Cluster, console: Client
) -> None:
    page = reverse("admin:clusters_cluster_connect", args=[forge.pk])
    assert f'href="?engine={NAME}">Simulated, slow' in console.get(page).content.decode()

    looked = console.post(page, {"step": "look", "engine": NAME, "seconds": "20"}).content.decode()
    sealed = re.search(r'name="sealed" value="([^"]+)"', looked)
    assert sealed
    saved = console.post(page, {"step": "connect", "sealed": sealed[1]}, follow=True)

    html = saved.content.decode()
    assert "Simulated, slow, simulated, images in 20 s" in html
    assert "chosen by Simulated, slow" in html
    assert saved.context["form"].initial == {"seconds": "20"}


def test_the_form_of_another_kind_is_empty(
    registered: None, forge: Cluster, console: Client
) -> None:
    connect("--fetch-seconds", "20")

    page = reverse("admin:clusters_cluster_connect", args=[forge.pk])

    assert console.get(page, {"engine": "docker"}).context["form"].initial == {}


def test_the_rest_api_describes_and_returns_the_new_kind(
    registered: None, forge: Cluster, alice: User, client_for: ClientFor
) -> None:
    connect()
    api: APIClient = client_for(alice)

    schema = api.get("/openapi.json").json()["components"]["schemas"]["Driver"]

    assert schema["enum"] == [*KINDS]
    assert schema["enum"][-1] == NAME
    assert api.get(f"/clusters/{forge.pk}").json()["driver"] == NAME


def test_a_new_kind_needs_no_migration(registered: None) -> None:
    call_command("makemigrations", check=True, dry_run=True)


def test_a_deployment_starts_after_its_image_is_pulled(
    registered: None, forge: Cluster, bring: Bring
) -> None:
    connect("--fetch-seconds", "20")
    deployment = bring(Status.STARTING)

    reconcile(forge.pk)
    deployment.refresh_from_db()
    assert deployment.status == Status.STARTING

    with time_machine.travel(timezone.now() + timedelta(seconds=21)):
        reconcile(forge.pk)
    deployment.refresh_from_db()
    assert deployment.status == Status.RUNNING


# --- Capabilities ---------------------------------------------------------------------------------


def grow(cluster: Cluster) -> None:
    update(cluster, actor="olga", name=cluster.name, capacity=Capacity(999_000, 16384, 2))


def test_a_cluster_can_grow_beyond_its_engine_unless_its_capacity_is_fixed(
    registered: None, forge: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect()
    monkeypatch.setattr(simulated_slow, "KIND", replace(KIND, has_fixed_capacity=True))
    with pytest.raises(Conflict, match="cannot grow"):
        grow(forge)

    monkeypatch.setattr(simulated_slow, "KIND", KIND)
    grow(forge)


def test_only_an_engine_that_can_be_watched_gets_a_watching_thread(
    registered: None, forge: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect()
    forge.refresh_from_db()
    monkeypatch.setattr(watching, "_watched", {})
    watching.keep_watch(only_engine(forge))
    assert watching._watched == {}

    monkeypatch.setattr(simulated_slow, "KIND", replace(KIND, can_watch=True))
    watching.keep_watch(only_engine(forge))
    watching._watched[only_engine(forge).wakeup].join()
