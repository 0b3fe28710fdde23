"""How long the operators' first page takes with a million deployments in the database.

The bench starts a separate, otherwise idle service on this machine. It inserts the rows directly in
SQL. They are consistent, so that the scheduler does not change them.
"""

import re
import secrets
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.cookiejar import CookieJar
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, OpenerDirector, Request, build_opener

import psycopg
from dotenv import dotenv_values

from benchmarks.client import Client
from benchmarks.service import Service, wait_until

_OPERATOR = "bench-operator"
_PASSWORD = secrets.token_urlsafe()
_PAGES = {
    "whole page": ("/admin/", {}),
    "live part": ("/admin/", {"X-Fragment": "live"}),
    "live part, 7 days": ("/admin/?span=7d", {"X-Fragment": "live"}),
    "live part, one cluster": ("/admin/?cluster=1&span=24h", {"X-Fragment": "live"}),
}

_FILL = """
    SET session_replication_role = replica;  -- no triggers: the audit trail does not need these
    INSERT INTO deployments_deployment
        (organization_id, name, image, command, env, priority, preemptible, on_dependency_failure,
         created_at, status, status_reason, held, cluster_id, preemptions, queued_at, placed_at,
         started_at, finished_at, revision, cpu_milli, ram_mib, gpu)
    SELECT 1, 'bench-' || n, 'bench/none:1', '[]', '{{}}',
           CASE WHEN n > {deployments} - {active} THEN 100 ELSE 1 + n %% 99 END, true, 'wait',
           t.at, s.status, '', n %% 50 = 0 AND s.status = 'pending',
           CASE WHEN s.status = 'running' THEN 1 + n %% {clusters} END, n %% 3, t.at,
           CASE WHEN s.status = 'running' THEN t.at END,
           CASE WHEN s.status = 'running' THEN t.at END,
           CASE WHEN s.status IN ('completed', 'failed') THEN t.at + interval '20 minutes' END,
           5, 1000, 1024, 1
    FROM generate_series(1, {deployments}) n
    CROSS JOIN LATERAL (SELECT CASE
        WHEN n > {deployments} - {active} THEN 'running'
        WHEN n > {deployments} - {active} - {pending} THEN 'pending'
        WHEN n %% 20 = 0 THEN 'failed' ELSE 'completed' END AS status) s
    CROSS JOIN LATERAL (
        SELECT now() - interval '30 days' * (1 - n / {deployments}::float) - interval '1 hour' AS at
    ) t;
    INSERT INTO deployments_run
        (deployment_id, cluster_id, placed_at, launched_at, started_at, released_at, ended_at,
         outcome, cpu_milli, ram_mib, gpu)
    SELECT id, coalesce(cluster_id, 1 + id %% {clusters}), queued_at, queued_at, queued_at,
           finished_at, finished_at,
           CASE WHEN status = 'running' THEN '' WHEN id %% 7 = 0 THEN 'evicted' ELSE status END,
           cpu_milli, ram_mib, gpu
    FROM deployments_deployment WHERE status IN ('running', 'completed', 'failed') ORDER BY id;
    INSERT INTO clusters_simulatedcontainer
        (cluster_id, run_id, started_at, exit_code, stop_seconds, output)
    SELECT cluster_id, id, started_at, 0, 0, '' FROM deployments_run WHERE released_at IS NULL;
    INSERT INTO orgs_event
        (organization_id, subject, subject_id, time, kind, actor, reason, status, data)
    SELECT 1, 'deployment', id, queued_at, 'bench', 'bench', '', status, '{{}}'
    FROM deployments_deployment ORDER BY id;
    INSERT INTO scheduling_schedulingcycle
        (organization_id, trigger, started_at, snapshot_us, plan_us, apply_us, ready, placed,
         evicted, moved, left_pending, set_aside)
    SELECT 1, 'change', now() - n * interval '6 seconds', 900, 1500, 2100, 9, 5, 1, 0, 4, 0
    FROM generate_series(200000, 1, -1) n;
    DELETE FROM scheduling_clustersample;
    DELETE FROM scheduling_sample;
    INSERT INTO scheduling_clustersample (cluster_id, time, cpu_milli, ram_mib, gpu,
        used_cpu_milli, used_ram_mib, used_gpu, held_cpu_milli, held_ram_mib, held_gpu)
    SELECT c.id, m, c.cpu_milli, c.ram_mib, c.gpu, c.cpu_milli / 2, c.ram_mib / 2, c.gpu, 0, 0, 0
    FROM generate_series(date_trunc('minute', now()) - interval '7 days',
                         date_trunc('minute', now()) - interval '1 minute', '1 minute') m
    CROSS JOIN clusters_cluster c;
    INSERT INTO scheduling_sample (time, cpu_milli, ram_mib, gpu, used_cpu_milli, used_ram_mib,
        used_gpu, held_cpu_milli, held_ram_mib, held_gpu, placed, evicted, moved, failed, ended,
        thrashed, cycles, cycle_us, slowest_cycle_us, waits, ready, held_back, delayed, dependent,
        starving, longest_wait_s, inverted, overlooked, packed, packable, suspects)
    SELECT time, sum(cpu_milli), sum(ram_mib), sum(gpu), sum(used_cpu_milli), sum(used_ram_mib),
           sum(used_gpu), 0, 0, 0, 23, 3, 1, 1, 20, 0, 10, 45000, 9000,
           array(SELECT 1 + k %% 4 FROM generate_series(0, 45) k),
           (SELECT jsonb_object_agg(p, 3 + p %% 5) FROM generate_series(1, 99) p),
           4, 0, 0, 0, 700, 0, 0, 0.97, 1, '{{}}'
    FROM scheduling_clustersample GROUP BY time;
    ANALYZE;
"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--deployments", type=int, default=1_000_000, help="default: %(default)s")
    parser.add_argument("--pending", type=int, default=20_000, help="of them; default: %(default)s")
    parser.add_argument("--active", type=int, default=2_000, help="of them; default: %(default)s")
    parser.add_argument("--clusters", type=int, default=20, help="default: %(default)s")
    parser.add_argument("--tries", type=int, default=30, help="default: %(default)s")


def command(options: Mapping[str, Any], out: Callable[[str], object]) -> None:
    numbers = {name: options[name] for name in ("deployments", "pending", "active", "clusters")}
    with _filled(numbers, out) as service:
        browser = _log_in(service.url)
        for name, (path, headers) in _PAGES.items():
            took = sorted(
                _time(browser, service.url + path, headers) for _ in range(options["tries"])
            )
            p95 = took[int(0.95 * (len(took) - 1))]
            out(
                f"{name:<24} median {1000 * median(took):.0f} ms,"
                f" 95th percentile {1000 * p95:.0f} ms, worst {1000 * took[-1]:.0f} ms"
            )


@contextmanager
def _filled(numbers: Mapping[str, int], out: Callable[[str], object]) -> Iterator[Service]:
    """Run a service with these numbers of rows in its database."""
    with tempfile.TemporaryDirectory(prefix="hypervisor-bench-") as folder:
        service = Service(Path(folder) / "home", DJANGO_SUPERUSER_PASSWORD=_PASSWORD)
        try:
            service.start()
            _prepare(service, numbers)
            began = time.monotonic()
            _fill(service, numbers)
            rows = ", ".join(f"{count} {name}" for name, count in numbers.items())
            out(f"{rows}: filled in {time.monotonic() - began:.0f} s")
            yield service
        finally:
            service.stop()


def _prepare(service: Service, numbers: Mapping[str, int]) -> None:
    """Create an operator, and an organization with clusters that the active deployments fill."""
    status, output = service.run(
        "createsuperuser", "--noinput", "--username", _OPERATOR, "--email", ""
    )
    if status:
        raise RuntimeError(output)
    gpu = -(-numbers["active"] // numbers["clusters"])
    with Client.newcomer(service.url, "bench") as client:
        client.post("/organizations", name="Bench")
        for number in range(numbers["clusters"]):
            client.post(
                "/clusters", name=f"rack-{number}", cpu=4 * gpu, ram_mib=4096 * gpu, gpu=gpu
            )


def _fill(service: Service, numbers: Mapping[str, int]) -> None:
    url = dotenv_values(service.home / "env")["DATABASE_URL"] or ""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in _FILL.format(**numbers).replace("%%", "%").split(";\n"):
            if statement.strip():
                connection.execute(statement.encode())
        connection.execute("VACUUM (ANALYZE)")
    wait_until(lambda: service.run("verify")[0] == 0, "the rows are consistent", 120)


def _log_in(url: str) -> OpenerDirector:
    browser = build_opener(HTTPCookieProcessor(CookieJar()))
    form = browser.open(f"{url}/admin/login/").read().decode()
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form)
    if token is None:
        raise RuntimeError("The log-in page has no form.")
    fields = {"username": _OPERATOR, "password": _PASSWORD, "csrfmiddlewaretoken": token[1]}
    browser.open(f"{url}/admin/login/?next=/healthz", urlencode(fields).encode()).read()
    return browser


def _time(browser: OpenerDirector, url: str, headers: Mapping[str, str]) -> float:
    began = time.perf_counter()
    with browser.open(Request(url, headers=dict(headers))) as response:  # noqa: S310 - the URL of the bench
        page = response.read()
    if b"Priority inversions" not in page:
        raise RuntimeError(f"{url} did not return the dashboard.")
    return time.perf_counter() - began
