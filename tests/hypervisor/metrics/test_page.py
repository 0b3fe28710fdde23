"""What the metrics say, on real rows."""

from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import DjangoAssertNumQueries, Settings
from redis import RedisError

from clusters.models import Cluster, Connection
from deployments.choices import Status
from deployments.models import Deployment
from deployments.runtime.models import Run
from hypervisor.metrics import page
from orgs.models import Organization
from scheduling.models import CountedUntil, Sample, Total
from scheduling.monitoring import heartbeats, totals
from scheduling.monitoring.minutes import take_sample
from tests.fixtures.deployments import Bring

GIB = 2**30


def value(name: str, /, **labels: object) -> float | None:
    """Return the value of the series with exactly these labels, read now; None without any."""
    wanted = {label: str(each) for label, each in labels.items()}
    found = [
        sample.value
        for family in text_string_to_metric_families(page._read().decode())
        for sample in family.samples
        if sample.name == f"hypervisor_{name}" and sample.labels == wanted
    ]
    assert len(found) <= 1
    return found[0] if found else None


def of(cluster: Cluster) -> dict[str, Any]:
    return {"organization": cluster.organization_id, "cluster": cluster.pk}


def test_capacity_is_in_cores_bytes_and_devices(forge: Cluster, bring: Bring) -> None:
    bring(Status.RUNNING, cpu_milli=1500, gpu=1)
    Run.objects.update(launched_at=timezone.now())
    bring(Status.STARTING, cpu_milli=500)

    cpu = of(forge) | {"resource": "cpu", "unit": "cores"}
    assert value("cluster_capacity", **cpu) == 8
    assert value("cluster_allocated", **cpu) == 1.5
    assert value("cluster_reserved", **cpu) == 0.5
    assert value("cluster_free", **cpu) == 6
    assert value("cluster_capacity", **of(forge), resource="ram", unit="bytes") == 16 * GIB
    assert value("cluster_free", **of(forge), resource="gpu", unit="devices") == 1


def test_names_are_in_families_of_their_own(forge: Cluster) -> None:
    odd = 'Forge "\\'
    Cluster.objects.update(name=odd)

    assert value("organization_info", organization=forge.organization_id, name="Acme") == 1
    assert value("cluster_info", **of(forge), name=odd, state="active") == 1


def test_deployments_are_counted_by_status_and_reason(acme: Organization, bring: Bring) -> None:
    bring(Status.RUNNING)
    bring(Status.COMPLETED)
    held = bring(Status.PENDING)
    Deployment.objects.filter(pk=held.pk).update(
        status_code="held", queued_at=timezone.now() - timedelta(hours=2)
    )
    bring(Status.PENDING)

    assert value("deployments", organization=acme.pk, status="running") == 1
    assert value("deployments", organization=acme.pk, status="pending") == 2
    assert value("deployments", organization=acme.pk, status="stopping") == 0
    assert value("deployments", organization=acme.pk, status="completed") is None
    assert value("pending_deployments", organization=acme.pk, reason="held") == 1
    assert value("pending_deployments", organization=acme.pk, reason="submitted") == 1
    oldest = value("oldest_pending_seconds", organization=acme.pk, reason="held")
    assert oldest == pytest.approx(7200, abs=60)


def test_counters_begin_at_zero_and_show_the_totals(acme: Organization) -> None:
    Total.objects.create(organization=acme, name=totals.RUNS, label="evicted", value=7)
    Total.objects.create(organization=acme, name=totals.LOST_GPU_S, label="evicted", value=12.5)

    assert value("runs_total", organization=acme.pk, outcome="evicted") == 7
    assert value("runs_total", organization=acme.pk, outcome="failed") == 0
    assert value("lost_gpu_seconds_total", organization=acme.pk, outcome="evicted") == 12.5
    assert value("submissions_total", organization=acme.pk) == 0
    assert value("cycles_total", organization=acme.pk, trigger="change") == 0


def test_histograms_are_cumulative(acme: Organization) -> None:
    for label, many in {"5": 2, "60": 1, "+Inf": 1, "sum": 1000}.items():
        Total.objects.create(organization=acme, name=totals.WAIT, label=label, value=many)
    Total.objects.create(name="plan", label="0.01", value=3)

    assert value("wait_seconds_bucket", organization=acme.pk, le="1") == 0
    assert value("wait_seconds_bucket", organization=acme.pk, le="30") == 2
    assert value("wait_seconds_bucket", organization=acme.pk, le="604800") == 3
    assert value("wait_seconds_bucket", organization=acme.pk, le="+Inf") == 4
    assert value("wait_seconds_count", organization=acme.pk) == 4
    assert value("wait_seconds_sum", organization=acme.pk) == 1000
    assert value("cycle_seconds_bucket", phase="plan", le="0.01") == 3
    assert value("cycle_seconds_count", phase="apply") == 0


def test_processes_are_counted_by_their_heartbeats(db: None) -> None:
    now = timezone.now()
    heartbeats.record(heartbeats.BEAT)
    heartbeats.record_worker(heartbeats.PLANNING, "a@here")
    heartbeats.record_worker(heartbeats.PLANNING, "b@here")
    heartbeats.record_worker("engines", "c@gone", now - timedelta(minutes=5))

    assert value("processes", kind="beat") == 1
    assert value("processes", kind="worker") == 2
    assert value("processes", kind="engines") == value("processes", kind="background") == 0
    assert value("heartbeat_age_seconds", kind="engines") == pytest.approx(300, abs=30)
    assert value("heartbeat_age_seconds", kind="background") is None


def test_engines_are_counted_by_contact(forge: Cluster) -> None:
    assert value("engines", **of(forge), contact="lost") == 0
    Connection.objects.create(
        cluster=forge, endpoint="unix:///run/docker.sock", engine_id="X", version="1",
        probed_at=timezone.now(), lost_contact_at=timezone.now(),
    )  # fmt: skip

    assert value("engines", **of(forge), contact="lost") == 1
    assert value("engines", **of(forge), contact="in_contact") == 0


def test_figures_of_the_latest_sample_are_missing_without_one(forge: Cluster) -> None:
    assert value("starving_deployments") is value("sample_age_seconds") is None
    take_sample()

    assert value("starving_deployments") == value("overlooked_deployments") == 0
    assert value("sample_age_seconds") is not None
    Sample.objects.update(inverted=None)
    assert value("inverted_deployments") is None


def test_the_delay_of_the_counters_is_shown(db: None) -> None:
    CountedUntil.objects.create(pk=1, time=timezone.now() - timedelta(minutes=9))

    assert value("counters_delay_seconds") == pytest.approx(540, abs=30)


def test_the_oldest_organizations_and_clusters_are_listed(
    settings: Settings, forge: Cluster, globex: Organization
) -> None:
    settings.METRICS_LIMIT = 1
    Cluster.objects.create(organization=globex, name="mill", cpu_milli=1, ram_mib=1)

    assert value("organization_info", organization=forge.organization_id, name="Acme") == 1
    assert value("organization_info", organization=globex.pk, name="Globex") is None
    assert value("submissions_total", organization=globex.pk) is None
    assert value("unlisted_organizations") == value("unlisted_clusters") == 1


def test_all_processes_share_a_text_for_a_while(
    acme: Organization, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    first = page.text()

    with django_assert_num_queries(0):
        assert page.text() == first
    cache.delete(page._KEY)
    assert page.text() != first


def test_without_the_cache_a_process_keeps_its_own_text(
    acme: Organization, monkeypatch: pytest.MonkeyPatch,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:  # fmt: skip
    def refuse(*_: object) -> None:
        raise RedisError

    monkeypatch.setattr(cache, "get", refuse)
    monkeypatch.setattr(cache, "set", refuse)
    first = page.text()

    with django_assert_num_queries(0):
        assert page.text() == first
