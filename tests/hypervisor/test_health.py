import pytest
from django.db import OperationalError, connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from pytest_django import DjangoAssertNumQueries, Settings
from redis import Redis

from hypervisor import health


@pytest.mark.django_db
def test_the_liveness_check_makes_no_query(
    client: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(0):
        response = client.get("/healthz")

    assert (response.status_code, response.json()) == (200, {"status": "ok"})


@pytest.mark.django_db
def test_with_a_database_and_a_broker_it_is_ready(client: Client) -> None:
    response = client.get("/readyz")

    assert response.status_code == 200
    assert response.json() == {"status": "ok", "checks": {"database": "ok", "broker": "ok"}}


@pytest.mark.django_db
def test_without_a_broker_it_is_ready_but_degraded(client: Client, settings: Settings) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"

    response = client.get("/readyz")

    assert response.status_code == 200
    assert response.json()["status"] == "degraded"
    assert response.json()["checks"]["broker"] == "unreachable"


@pytest.mark.django_db
def test_without_a_database_it_is_not_ready(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise OperationalError("connection refused")

    with monkeypatch.context() as patch:
        patch.setattr(connection, "ensure_connection", refuse)
        response = client.get("/readyz")

    assert response.status_code == 503
    assert response.json()["status"] == "unavailable"
    assert response.json()["checks"]["database"] == "unreachable"


@pytest.mark.django_db
def test_with_an_unapplied_migration_it_is_not_ready(client: Client) -> None:
    MigrationRecorder.Migration.objects.filter(app="scheduling").delete()

    response = client.get("/readyz")

    assert response.status_code == 503
    assert response.json()["checks"]["database"] == "not migrated"


@pytest.mark.own_session
@pytest.mark.django_db(transaction=True)
def test_a_read_only_database_is_not_ready(client: Client) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = on")

    response = client.get("/readyz")

    connection.close()
    assert (response.status_code, response.json()["checks"]["database"]) == (503, "read-only")


@pytest.mark.django_db
def test_a_broker_without_free_memory_is_degraded(client: Client, settings: Settings) -> None:
    with Redis.from_url(settings.REDIS_URL) as valkey:
        valkey.config_set("maxmemory", 1)
        try:
            response = client.get("/readyz")
        finally:
            valkey.config_set("maxmemory", 0)

    assert response.status_code == 200
    assert response.json()["checks"]["broker"] == "refuses writes"


@pytest.mark.django_db
def test_the_readiness_check_writes_to_the_disk() -> None:
    """Otherwise a full disk would not be noticed."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL work_mem = '64kB'")
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS) {health.SPILL}")
        plan = "\n".join(row[0] for row in cursor.fetchall())

    assert "temp" in plan
    assert "written" in plan


@pytest.mark.django_db
def test_without_the_events_process_it_is_ready_but_degraded(
    client: Client, settings: Settings
) -> None:
    settings.EVENTS_URL = "http://127.0.0.1:1"

    response = client.get("/readyz")

    assert (response.status_code, response.json()["status"]) == (200, "degraded")
    assert response.json()["checks"]["events"] == "unreachable"
