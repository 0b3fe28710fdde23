"""Recreate `former.sql.gz` and `former_statements.jsonl.gz` from the former release's code.

After a release, set COMMIT in `former.py` to the released commit, run this, and commit the
two files:

    .venv/bin/python -m tests.e2e.upgrade.record

If the released web has other routes, adapt `visit` and `fill` first.
"""

import gzip
import os
import tempfile
import time
from pathlib import Path

from hypervisor.standalone import servers
from hypervisor.standalone.home import free_port
from hypervisor.standalone.process import Process
from tests.e2e.upgrade.former import DUMP, STATEMENTS, Former, Person, request, visit
from tests.support.databases import postgres, postgres_tool

_STEP = """
from clusters.models import Cluster
from deployments.reconcile import reconcile
from orgs.models import Organization
from scheduling.cycle import run_cycle
from scheduling.models import SchedulingCycle
from scheduling.sampling import take_sample

for organization in Organization.objects.all():
    run_cycle(organization.pk, SchedulingCycle.Trigger.MANUAL)
for cluster in Cluster.objects.all():
    reconcile(cluster.pk)
take_sample()
"""
"""The work of the former release's workers, without Celery."""


def main() -> None:
    with tempfile.TemporaryDirectory() as name, postgres(Path(name)) as database:
        folder = Path(name)
        service, os.environ["REDIS_URL"] = servers.valkey(
            folder / "valkey", free_port(), "a-password", folder / "valkey.log", durable=False
        )
        broker = Process(service)
        try:
            broker.wait_until_ready()
            _record(Former(folder / "former", database), database)
        finally:
            broker.stop()


def _record(former: Former, database: str) -> None:
    former.run("migrate", "--verbosity=0")
    with former.web() as url:
        fill(former, url)
        visit(url, "carla")
    postgres_tool("pg_dump", "--no-owner", "--compress=gzip:9", f"--file={DUMP}", database)
    statements = former.folder / "statements"
    with former.web(str(statements)) as url:
        visit(url, "dora")
    STATEMENTS.write_bytes(gzip.compress(statements.read_bytes(), mtime=0))


def fill(former: Former, url: str) -> None:
    """Create deployments in every lasting state, evicted runs, and samples."""
    with Person.newcomer(url, "alice") as alice:
        alice.post("/organizations", name="Acme")
        anvil = alice.post("/clusters", name="anvil", cpu=8, ram_mib=16384, gpu=4)["id"]
        alice.post("/clusters", name="bellows", cpu=4, ram_mib=8192)
        alice.post(
            "/deployments/bulk",
            deployments=[
                request(name=f"serve-{n}", priority=30, env={"SIMULATE_LOG": "Serving."})
                for n in range(12)
            ],
        )
        former.run("shell", "-c", _STEP)
        prepare = alice.deploy(name="prepare", priority=60, env={"SIMULATE_RUN_SECONDS": "1"})
        alice.deploy(name="after", depends_on=[prepare], env={"TOKEN": {"secret": "hush"}})
        alice.deploy(
            name="fails", priority=60, env={"SIMULATE_EXIT_CODE": "3"},
            restart_policy="on-failure", max_restarts=2,
        )  # fmt: skip
        alice.deploy(name="typo", priority=60, image="simulated/missing")
        alice.deploy(name="urgent", priority=90, cpu=4, gpu=2, cluster=anvil)
        alice.deploy(name="large", cpu=8, priority=20)
        held = alice.deploy(name="held")
        alice.post(f"/deployments/{held}/hold")
        alice.post(f"/deployments/{alice.deploy(name='cancelled')}/cancel")
        for _ in range(4):
            former.run("shell", "-c", _STEP)
            time.sleep(1)  # the simulated containers end by the clock
        running = {d["name"]: d["id"] for d in alice.list("/deployments?status=running")}
        alice.post(f"/deployments/{running['serve-0']}/stop")
        former.run("shell", "-c", _STEP)
        for row in alice.list("/deployments"):
            print(row["name"], row["status"], row["status_code"])  # noqa: T201 to be looked at


if __name__ == "__main__":
    main()
