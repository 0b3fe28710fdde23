"""`manage.py status` shows what works, how full the clusters are, and what waits."""

import json
import os
import subprocess
import sys
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from clusters.models import Cluster, Connection
from clusters.wakeups import ENGINES
from deployments.choices import Status
from deployments.models import Deployment
from hypervisor.standalone.bootstrap import ROOT
from hypervisor.version import VERSION
from orgs.models import Organization
from scheduling.cycle.run import run_cycle
from scheduling.models import SchedulingCycle
from scheduling.monitoring import heartbeats
from tests.fixtures.deployments import Bring, Submit
from tests.support.factories import make_cluster

pytestmark = pytest.mark.django_db


@pytest.fixture
def all_at_work() -> None:
    """Let beat and both kinds of workers have recent heartbeats."""
    heartbeats.record(heartbeats.BEAT)
    heartbeats.record_worker(heartbeats.PLANNING, "celery@here")
    heartbeats.record_worker(heartbeats.BACKGROUND, "background@here")
    heartbeats.record_worker(ENGINES, "engines@here")


def run_status(*arguments: str) -> tuple[int, str]:
    """Return the exit code and the output."""
    out = StringIO()
    code = 0
    try:
        call_command("status", *arguments, stdout=out)
    except SystemExit as end:
        code = int(end.code or 0)
    return code, out.getvalue()


def document() -> Any:
    return json.loads(run_status("--json")[1])


@pytest.fixture
def busy(acme: Organization, forge: Cluster, submit: Submit) -> list[Deployment]:
    """Fill a cluster with one deployment; three others wait, one of them on hold."""
    rows = [submit(name="big", cpu_milli=8000, gpu=2, priority=90)]
    rows += [submit(name=f"waits-{number}") for number in range(3)]
    Deployment.objects.filter(pk=rows[1].pk).update(held=True, status_code="held")
    run_cycle(acme.pk, SchedulingCycle.Trigger.CHANGE)
    return rows


def test_a_working_service_is_healthy(all_at_work: None) -> None:
    code, output = run_status()

    assert code == 0
    assert output.splitlines()[0].startswith(f"MLOps Hypervisor {VERSION}, ")
    assert ": healthy" in output.splitlines()[0]
    assert "beat ok, worker ok, background worker ok, engine worker ok, broker ok" in output
    assert "There is no cluster yet." in output
    assert "No deployment is waiting." in output


def test_without_beat_and_workers_it_fails_and_names_them() -> None:
    code, output = run_status()

    assert code == 1
    assert "4 critical" in output
    for part in ("Beat", "Worker", "Background worker", "Engine worker"):
        assert f"  CRITICAL  {part}: " in output


def test_it_shows_how_full_each_cluster_is_and_why_deployments_wait(
    all_at_work: None, busy: list[Deployment]
) -> None:
    code, output = run_status()

    assert code == 0
    (row,) = [line.split() for line in output.splitlines() if "forge" in line and "2/2" in line]
    assert row == ["forge", "(Acme)", "active", "0", "+1", "2/2", "8/8", "1/16"]
    assert "Waiting: 3 (2 no_free_capacity, 1 held)" in output
    assert f"  waits-1 ({busy[2].pk}) of Acme, priority 50, for " in output
    assert "waits-0" not in output


def test_the_json_output_has_the_same_contents(all_at_work: None, busy: list[Deployment]) -> None:
    found = document()

    assert (found["healthy"], found["version"], found["alarms"]) == (True, VERSION, found["alarms"])
    assert {part["name"]: part["state"] for part in found["parts"]} == {
        "Beat": "ok", "Worker": "ok", "Background worker": "ok", "Engine worker": "ok",
        "Broker": "ok", "Database": "ok", "Samples": "warning",
    }  # fmt: skip
    assert found["engines"] == {"in_contact": 0, "lost": 0, "simulated": 1}
    (cluster,) = found["clusters"]
    assert cluster["allocated"] == {"cpu_milli": 8000, "ram_mib": 1024, "gpu": 2}
    assert cluster["capacity"] == {"cpu_milli": 8000, "ram_mib": 16384, "gpu": 2}
    assert (found["waiting"]["total"], found["waiting"]["codes"]) == (
        3,
        {"no_free_capacity": 2, "held": 1},
    )
    assert [row["id"] for row in found["waiting"]["longest"]] == [busy[2].pk, busy[3].pk]


def test_an_engine_without_contact_is_critical(all_at_work: None, forge: Cluster) -> None:
    Connection.objects.create(
        cluster=forge, endpoint="tcp://nowhere:1", engine_id="nowhere", probed_at=timezone.now(),
        lost_contact_at=timezone.now() - timedelta(minutes=5), last_error="no route",
    )  # fmt: skip

    code, output = run_status()

    assert code == 1
    assert "engines: 0 in contact, 1 lost, 0 simulated" in output
    assert "The engine of forge does not answer" in output
    assert "no contact" in output


def test_a_warning_alone_does_not_fail(all_at_work: None, bring: Bring) -> None:
    Deployment.objects.filter(pk=bring(Status.PENDING).pk).update(status_code="exceeds_capacity")

    code, output = run_status()

    assert code == 0
    assert "healthy, 2 warnings" in output
    assert "  WARNING   1 deployment can never start" in output


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40)])
def test_the_output_fits_on_a_screen_however_much_there_is(
    acme: Organization, forge: Cluster, submit: Submit, monkeypatch: pytest.MonkeyPatch,
    width: int, height: int,
) -> None:  # fmt: skip
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("LINES", str(height))
    for number in range(60):
        make_cluster(acme, f"rack-{number}")
    for number in range(12):
        pk = submit(name="n" * 60).pk
        Deployment.objects.filter(pk=pk).update(status_code=f"code_{number}")
        Deployment.objects.filter(pk=pk).update(status_reason="why " * 60)

    lines = run_status()[1].splitlines()

    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    assert any("more clusters" in line for line in lines)


def test_without_a_service_the_error_names_the_command_that_starts_it(tmp_path: Path) -> None:
    environment = os.environ | {
        "HYPERVISOR_HOME": str(tmp_path), "DATABASE_URL": "", "REDIS_URL": "",
    }  # fmt: skip

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "manage.py", "status", *arguments],
            cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip

    plain, machine = run(), run("--json")

    assert (plain.returncode, machine.returncode) == (1, 1)
    assert "No service is running" in plain.stderr
    assert "python3 manage.py up" in plain.stderr
    answer = json.loads(machine.stdout)
    assert answer["healthy"] is False
    assert answer["parts"][0]["name"] == "Database"
