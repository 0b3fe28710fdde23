from pathlib import Path

import psycopg
from dotenv import dotenv_values

from benchmarks.service import Service
from benchmarks.starts import Report, measure
from tests.support import prepared


def test_all_containers_of_several_clusters_start(tmp_path: Path) -> None:
    service = Service(prepared.home(tmp_path / "home"))
    service.start()
    try:
        url = dotenv_values(service.home / "env")["DATABASE_URL"] or ""
        with psycopg.connect(url, autocommit=True) as database:
            reports = [measure(service, database, count=6, clusters=2) for _ in range(2)]
        status, output = service.run("verify")
    finally:
        service.stop()

    assert status == 0, output
    assert [report.count for report in reports] == [6, 6]
    assert all(set(report.cpu) == {"worker", "engines", "postgres"} for report in reports)


def test_the_report_has_rates_and_the_cpu_of_each_container() -> None:
    report = Report(1000, seconds=0.5, cpu={"engines": 0.2, "postgres": 0.3})

    assert str(report) == (
        "1,000 containers: 2,000 a second (0.50 s); µs of CPU a container: engines 200, postgres"
        " 300; 2,000 for each second of CPU"
    )
