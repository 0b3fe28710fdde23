"""A real Prometheus reads a real service, and runs every query of the dashboard and every alert."""

import re
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from benchmarks.service import Service, wait_until
from tests.support import prepared
from tests.support.prometheus import METRIC, Prometheus, dashboard_queries, program, promtool
from tests.support.service import User

TOKEN = "the-token-of-this-test-has-32-characters"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with one deployment that runs, one that waits, and one that can never start.

    Its webhook has a receiver that does not exist.
    """
    program("prometheus")
    up = Service(prepared.home(tmp_path_factory.mktemp("e2e") / "home"), METRICS_TOKEN=TOKEN)
    try:
        up.start()
        with User.newcomer(up.url, "alice", patience_s=60) as alice:
            alice.post("/organizations", name="Acme")
            alice.post("/webhooks", url="https://receiver.invalid/")
            alice.post("/clusters", name="rack", cpu=8, ram_mib=8192, gpu=1)
            alice.wait_for(alice.deploy("training", gpu=1), "running")
            waiting = alice.deploy("waiting", gpu=1)
            alice.deploy("never", depends_on=[waiting])
            alice.post(f"/deployments/{waiting}/cancel")
            alice.deploy("waiting", gpu=1)
        yield up
    finally:
        up.stop()


@pytest.fixture(scope="module")
def prometheus(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    target = service.url.removeprefix("http://")
    started = Prometheus(tmp_path_factory.mktemp("prometheus"), target, TOKEN)
    try:
        started.start()
        # The first sample and the first count of a new installation.
        late = ("sample_age_seconds", "counters_delay_seconds", "pending_deployments")
        for name in late:
            wait_until(lambda name=name: started.query(f"hypervisor_{name}"), name, 120)  # type: ignore[misc]
        yield started
    finally:
        started.stop()


def text_of(service: Service, token: str) -> str:
    request = urllib.request.Request(
        f"{service.url}/metrics", headers={"Authorization": f"Bearer {token}"}
    )
    with urllib.request.urlopen(request) as answer:
        return str(answer.read().decode())


def test_prometheus_reads_the_metrics_with_the_token(prometheus: Prometheus) -> None:
    (target,) = prometheus.targets()

    assert (target["health"], target["lastError"]) == ("up", "")
    assert prometheus.query('hypervisor_organization_info{name="Acme"}')
    (allocated,) = prometheus.query('hypervisor_cluster_allocated{resource="gpu"}')
    assert allocated["value"][1] == "1"


def test_another_token_is_refused(service: Service) -> None:
    with pytest.raises(urllib.error.HTTPError, match="401"):
        text_of(service, f"{TOKEN}x")


def test_promtool_finds_no_fault_in_the_text(service: Service) -> None:
    promtool("check", "metrics", text=text_of(service, TOKEN))


@pytest.mark.parametrize("panel", dashboard_queries())
def test_every_query_of_the_dashboard_has_series(prometheus: Prometheus, panel: str) -> None:
    for query in dashboard_queries()[panel]:
        wait_until(lambda query=query: prometheus.query(query), f"{panel}: {query}")  # type: ignore[misc]


def test_every_alert_is_evaluated_on_series(prometheus: Prometheus) -> None:
    """With `bool`, a comparison returns 0 instead of nothing while the alert does not fire."""
    rules = prometheus.rules()
    assert len(rules) > 10
    for rule in rules:
        expression = re.sub(r" (==|>) ", r" \1 bool ", rule["query"])
        wait_until(lambda query=expression: prometheus.query(query), expression)  # type: ignore[misc]
    wait_until(
        lambda: {rule["health"] for rule in prometheus.rules()} == {"ok"}, "all rules are evaluated"
    )


def test_nothing_fires_on_a_healthy_service(prometheus: Prometheus) -> None:
    """Starvation and deployments that never start fire only after a while."""
    assert prometheus.query('ALERTS{alertstate="firing"}') == []


def test_every_series_that_is_shown_or_watched_exists(
    service: Service, prometheus: Prometheus
) -> None:
    queries = [query for queries in dashboard_queries().values() for query in queries]
    wanted = set(METRIC.findall(" ".join([*queries, *(r["query"] for r in prometheus.rules())])))

    assert wanted - set(re.findall(r"^(\w+)", text_of(service, TOKEN), re.M)) == set()
