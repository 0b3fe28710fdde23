"""The service keeps to its OpenAPI document for thousands of valid and invalid requests."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.service import Service
from tests.support.service import User

CONFIGURATION = Path(__file__).with_name("schemathesis.toml")


@pytest.fixture(scope="module")
def service(own_service: Service) -> Service:
    return own_service


def test_the_service_answers_generated_requests_as_its_document_says(
    service: Service, tmp_path: Path
) -> None:
    with User.newcomer(service.url, "fuzzy") as user:
        user.post("/organizations", name="Acme")
        user.post("/clusters", name="rack-1", cpu=8, ram_mib="32Gi", gpu=1)
        user.post("/registries", host="ghcr.io", username="ci", password="not a secret")
        user.post("/webhooks", url="https://hooks.example.org", enabled=False)
        user.wait_for(user.deploy("job"), "running")
        token = user.token

    done = subprocess.run(
        [Path(sys.executable).with_name("schemathesis"), "--config-file", CONFIGURATION, "run",
         f"{service.url}/openapi.json", "--header", f"Authorization: Bearer {token}",
         "--checks", "all", "--phases", "examples,coverage", "--seed", "1"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
