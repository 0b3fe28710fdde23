"""A user of the real processes that `manage.py up` starts."""

from typing import Any

import psutil

from benchmarks.client import Client
from benchmarks.service import wait_until


class User(Client):
    def deploy(self, name: str, **body: Any) -> int:
        """Submit a deployment; return its id."""
        defaults = {"image": "ml/train:1", "cpu": 1, "ram_mib": 1024}
        return int(self.post("/deployments", name=name, **(defaults | body))["id"])

    def status(self, deployment: int) -> str:
        return str(self.get(f"/deployments/{deployment}")["status"])

    def wait_for(self, deployment: int, status: str) -> None:
        wait_until(lambda: self.status(deployment) == status, f"{deployment} is {status}")


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
