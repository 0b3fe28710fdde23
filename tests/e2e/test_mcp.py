"""Clients of the Model Context Protocol at a running service: its SDK, and its inspector."""

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any, Literal

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from benchmarks.service import Service
from tests.support.pages import paste

PASSWORD = "correct horse battery"
JOB = {"image": "ml/train:1", "cpu": 1, "ram_mib": "1Gi", "gpu": 1}


@pytest.fixture(scope="module")
def token(service: Service) -> str:
    """A token to submit, of the owner of an organization with one GPU."""
    with httpx2.Client(base_url=service.url) as api:
        user = {"username": "mira", "password": PASSWORD}
        api.post("/register", json=user).raise_for_status()
        log_in = api.post("/token", data=user).raise_for_status().json()["access_token"]
        api.headers["Authorization"] = f"Bearer {log_in}"
        api.post("/organizations", json={"name": "Mira"}).raise_for_status()
        rack = {"name": "rack-1", "cpu": 8, "ram_mib": "32Gi", "gpu": 1}
        api.post("/clusters", json=rack).raise_for_status()
        made = api.post("/tokens", json={"name": "agent", "scopes": ["submit"]})
        return str(made.raise_for_status().json()["token"])


async def submitted(client: Client, **job: Any) -> tuple[Any, int]:
    """Submit as an agent does; return the dry run and the id."""
    tried = await client.call_tool("submit_deployment", {**JOB, **job})
    assert not tried.is_error, tried.content
    confirmation = tried.structured_content["confirmation"]
    made = await client.call_tool("submit_deployment", {**JOB, **job, "confirmation": confirmation})
    assert not made.is_error, made.content
    return tried.structured_content["dry_run"], made.structured_content["deployment"]["id"]


async def until(client: Client, pk: int, status: str) -> None:
    async with asyncio.timeout(60):
        while (await data(client, "get_deployment", id=pk))["status"] != status:
            await asyncio.sleep(0.2)


async def data(client: Client, name: str, **arguments: Any) -> Any:
    result = await client.call_tool(name, arguments)
    assert not result.is_error, result.content
    return result.structured_content


async def session(client: Client, owner: str) -> None:
    """An agent finds free capacity, submits, preempts, explains, reads the output and stops."""
    assert "list_clusters" in {tool.name for tool in (await client.list_tools()).tools}
    [rack] = (await data(client, "list_clusters"))["results"]
    assert rack["available"]["gpu"] == 1

    tried, train = await submitted(client, name=f"train-{owner}", priority=20)
    assert tried["outcome"] == "run"
    await until(client, train, "running")
    tried, serve = await submitted(client, name=f"serve-{owner}", priority=90)
    assert [each["deployment"] for each in tried["evictions"]] == [train]
    await until(client, serve, "running")
    await until(client, train, "pending")

    why = await data(client, "explain_deployment", id=train)
    assert (why["code"], why["position"]) == ("no_free_capacity", 1)
    kinds = {e["kind"] for e in (await data(client, "list_deployment_events", id=train))["results"]}
    assert {"submitted", "placed", "evicted"} <= kinds
    assert "output" in await data(client, "read_deployment_logs", id=serve)
    for pk in (train, serve):
        await data(client, "stop_deployment", id=pk)
    await until(client, serve, "stopped")
    refused = await client.call_tool("stop_deployment", {"id": train})
    assert refused.is_error


@pytest.mark.parametrize("mode", ["legacy", "auto"])
def test_the_sdks_client_goes_through_a_session_of_an_agent(
    service: Service, token: str, mode: Literal["legacy", "auto"]
) -> None:
    async def run() -> str:
        headers = {"Authorization": f"Bearer {token}"}
        async with (
            httpx2.AsyncClient(headers=headers, timeout=60) as http,
            Client(streamable_http_client(f"{service.url}/mcp", http_client=http), mode=mode) as c,
        ):
            await session(c, mode)
            return str(c.protocol_version)

    assert asyncio.run(run()) == {"legacy": "2025-11-25", "auto": "2026-07-28"}[mode]


def test_the_inspector_finds_no_fault_and_calls_a_tool(
    node_tools: Path, service: Service, token: str
) -> None:
    def inspect(*arguments: str, header: str = f"Authorization: Bearer {token}") -> Any:
        return subprocess.run(
            [str(node_tools / "mcp-inspector"), "--cli", f"{service.url}/mcp",
             "--transport", "http", "--header", header, *arguments],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    listed = inspect("--method", "tools/list", "--strict")
    called = inspect("--method", "tools/call", "--tool-name", "list_clusters")
    refused = inspect("--method", "tools/list", header="X-Nothing: 1")

    assert (listed.returncode, listed.stderr) == (0, "")
    assert len(json.loads(listed.stdout)["tools"]) >= 8
    [rack] = json.loads(called.stdout)["structuredContent"]["results"]
    assert rack["name"] == "rack-1"
    assert refused.returncode != 0


def test_the_session_of_the_agents_page_prints_what_it_shows(
    service: Service, tmp_path: Path
) -> None:
    paste("agents.md", service, tmp_path)
