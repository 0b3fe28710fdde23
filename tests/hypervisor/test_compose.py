"""The settings, secrets, rights and ports of the containers in docker-compose.yml."""

from typing import Any

import pytest
import yaml

from hypervisor.env import SETTINGS
from hypervisor.standalone.bootstrap import ROOT

APPLICATION = ("migrate", "web", "events", "worker", "background", "engines", "beat")
NOT_OF_THE_CONTAINERS = {"DEBUG", "HYPERVISOR_HOME", "HOST", "PORT"}
SECRETS = {
    "SECRET_KEY",
    "CREDENTIALS_KEYS",
    "SECRETS_NEEDED",
    "METRICS_TOKEN",
    "MAIL_URL",
    "OIDC_CLIENT_SECRET",
}


def services() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"])


@pytest.mark.parametrize("name", ["postgres", "redis", *APPLICATION])
def test_a_container_has_no_more_rights_and_resources_than_it_needs(name: str) -> None:
    service = services()[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"]
    assert service["pids_limit"]
    assert bool(service.get("cap_add")) == (name == "postgres")


@pytest.mark.parametrize("name", APPLICATION)
def test_every_setting_reaches_every_service_of_the_application(name: str) -> None:
    environment = services()[name]["environment"]

    assert {s.name for s in SETTINGS} - NOT_OF_THE_CONTAINERS - SECRETS <= set(environment)
    assert "env_file" not in services()[name]


@pytest.mark.parametrize(
    ("name", "secrets"),
    [
        ("web", {"SECRET_KEY", "CREDENTIALS_KEYS"}),
        ("events", {"SECRET_KEY", "CREDENTIALS_KEYS"}),
        ("engines", {"CREDENTIALS_KEYS"}),
        *((name, set()) for name in ("worker", "background", "beat", "migrate")),
    ],
)
def test_a_service_gets_only_the_secrets_that_it_needs(name: str, secrets: set[str]) -> None:
    environment = services()[name]["environment"]

    assert set(environment) & {"SECRET_KEY", "CREDENTIALS_KEYS"} == secrets
    needed = {2: "all", 1: "credentials", 0: "none"}[len(secrets)]
    assert environment.get("SECRETS_NEEDED", "all") == needed
    assert ("METRICS_TOKEN" in environment) == (name == "web")
    assert ("OIDC_CLIENT_SECRET" in environment) == (name == "web")
    assert ("MAIL_URL" in environment) == (name == "engines")


def test_only_the_web_server_is_published_and_only_on_the_loopback_address() -> None:
    published = {
        name: service["ports"] for name, service in services().items() if "ports" in service
    }

    assert published == {"web": ["${HOST:-127.0.0.1}:${PORT:-8000}:8000"]}


def test_postgres_does_not_log_the_values_of_failing_statements() -> None:
    command = " ".join(services()["postgres"]["command"])

    assert "log_min_error_statement=panic" in command
    assert "log_error_verbosity=terse" in command
