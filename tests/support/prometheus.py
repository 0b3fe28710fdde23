"""A real Prometheus that reads the metrics of a real service, with the files in `monitoring/`."""

import json
import os
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from benchmarks.service import free_port, wait_until
from hypervisor.standalone.bootstrap import ROOT

MONITORING = ROOT / "monitoring"
METRIC = re.compile(r"hypervisor_\w+")


def program(name: str) -> str:
    """Return the path of `prometheus` or `promtool`; without it, skip the test, but fail in CI."""
    found = shutil.which(name)
    if found is None:
        give_up = pytest.fail if os.environ.get("CI") else pytest.skip
        give_up("needs Prometheus: apt-get install --no-install-recommends prometheus")
    return found


def promtool(*arguments: object, text: str = "") -> str:
    """Run promtool; return its output. Fails if it finds a problem."""
    done = subprocess.run(
        [program("promtool"), *map(str, arguments)], input=text, text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=MONITORING,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


def dashboard_queries() -> dict[str, list[str]]:
    """Return the queries of the dashboard by panel, for all organizations."""
    panels = json.loads((MONITORING / "grafana.json").read_text())["panels"]
    return {
        panel["title"]: [
            target["expr"].replace("$organization", ".*").replace("$__rate_interval", "1m")
            for target in panel["targets"]
        ]
        for panel in panels
        if panel["type"] != "row"
    }


class Prometheus:
    """A Prometheus with the repository's configuration, except for the target and the pace."""

    def __init__(self, folder: Path, target: str, token: str) -> None:
        self._folder = folder
        self._port = free_port()
        shutil.copytree(MONITORING, folder / "monitoring")
        path = folder / "monitoring" / "prometheus.yml"
        text = path.read_text().replace('"localhost:8000"', f'"{target}"')
        path.write_text(re.sub(r"_interval: 15s", "_interval: 1s", text))
        (folder / "monitoring" / "metrics-token").write_text(token)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self._folder / "prometheus.log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    program("prometheus"),
                    f"--config.file={self._folder}/monitoring/prometheus.yml",
                    f"--storage.tsdb.path={self._folder}/data",
                    f"--web.listen-address=127.0.0.1:{self._port}",
                ],
                stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        wait_until(lambda: self.query("up"), "Prometheus has read the metrics")

    def stop(self) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait(30)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series of an instant query: their labels (`metric`) and their `value`."""
        found: list[dict[str, Any]] = self._get("query", query=expression)["result"]
        return found

    def rules(self) -> list[dict[str, Any]]:
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def targets(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._get("targets")["activeTargets"]
        return found

    def _get(self, path: str, **parameters: str) -> Any:
        query = urllib.parse.urlencode(parameters)
        url = f"http://127.0.0.1:{self._port}/api/v1/{path}?{query}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return json.load(answer)["data"]
