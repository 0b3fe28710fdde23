"""The endpoint as a client of any revision, and a strange one, finds it."""

import json
from typing import Any

import pytest
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.models import User
from hypervisor.mcp import messages
from orgs.tokens.grants import Scope
from tests.support.answers import refusal
from tests.support.mcp import ENVELOPE, PATH, request, sent
from tests.support.tokens import bearer, client_with

pytestmark = pytest.mark.django_db

LATEST = {"MCP-Protocol-Version": "2026-07-28"}


@pytest.fixture
def agent(bob: User) -> APIClient:
    """A client with a token to read."""
    return client_with(bob, Scope.READ)


def error_of(response: Any, status: int, code: int) -> str:
    assert response.status_code == status, response.content
    answer = response.json()
    assert answer["jsonrpc"] == "2.0"
    assert answer["error"]["code"] == code
    return str(answer["error"]["message"])


@pytest.mark.parametrize(
    ("wanted", "negotiated"),
    [
        *((v, v) for v in messages.WITH_HANDSHAKE),
        ("2024-11-05", "2025-11-25"),
        (None, "2025-11-25"),
    ],
)
def test_a_handshake_negotiates_the_revision(
    agent: APIClient, wanted: str | None, negotiated: str
) -> None:
    result = sent(agent, "initialize", {"protocolVersion": wanted}).json()["result"]

    assert result["protocolVersion"] == negotiated
    assert set(result["capabilities"]) == {"tools"}
    assert result["serverInfo"]["name"] == "mlops-hypervisor"


def test_a_request_with_an_envelope_needs_no_handshake(agent: APIClient) -> None:
    def result(method: str) -> Any:
        headers = {**LATEST, "Mcp-Method": method}
        return sent(agent, method, {"_meta": ENVELOPE}, **headers).json()["result"]

    found, listed = result("server/discover"), result("tools/list")

    assert found["supportedVersions"] == list(messages.VERSIONS)
    for each in (found, listed):
        assert (each["resultType"], each["cacheScope"]) == ("complete", "public")
        assert each["ttlMs"] > 0
        assert each["_meta"][messages.SERVER_INFO]["name"] == "mlops-hypervisor"


def test_a_notification_is_accepted_without_an_answer(agent: APIClient) -> None:
    note = {"jsonrpc": "2.0", "method": "notifications/initialized"}

    for headers in ({}, LATEST):
        response = agent.post(PATH, note, headers=headers)
        assert (response.status_code, response.content) == (202, b"")


@pytest.mark.parametrize("accept", ["application/json, text/event-stream", "text/event-stream"])
def test_the_answer_is_json_and_there_is_no_stream(agent: APIClient, accept: str) -> None:
    answered = agent.post(PATH, request("ping"), headers={"Accept": accept})
    stream = agent.get(PATH, headers={"Accept": accept})

    assert answered.headers["Content-Type"] == "application/json"
    assert answered.json() == {"jsonrpc": "2.0", "id": 7, "result": {}}
    assert (stream.status_code, stream.headers["Allow"]) == (405, "POST")
    assert agent.delete(PATH).status_code == 405


@pytest.mark.parametrize("client", [APIClient(), bearer("hv_wrong"), bearer("not.a.jwt")])
def test_without_a_valid_token_each_message_is_401(client: APIClient) -> None:
    response = client.post(PATH, request("initialize"))

    refusal(response, 401)
    assert response.headers["WWW-Authenticate"].startswith("Bearer ")


@pytest.mark.parametrize(
    ("body", "code", "part"),
    [
        (b"{", messages.PARSE_ERROR, "JSON"),
        (b'"\xff"', messages.PARSE_ERROR, "UTF-8"),
        (b"[" * 40 + b"]" * 40, messages.PARSE_ERROR, "nested"),
        (b'{"a": 1, "a": 2}', messages.INVALID_REQUEST, "a:"),
        (b"[]", messages.INVALID_REQUEST, "Batches"),
        (b"", messages.INVALID_REQUEST, "jsonrpc"),
        (b"null", messages.INVALID_REQUEST, "jsonrpc"),
        (b'{"id": 1, "method": "ping"}', messages.INVALID_REQUEST, "jsonrpc"),
        (b'{"jsonrpc": "2.0", "id": 1, "result": {}}', messages.INVALID_REQUEST, "`method`"),
        (b'{"jsonrpc": "2.0", "id": null, "method": "ping"}', messages.INVALID_REQUEST, "`id`"),
        (b'{"jsonrpc": "2.0", "id": true, "method": "ping"}', messages.INVALID_REQUEST, "`id`"),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": [1]}',
         messages.INVALID_REQUEST, "`params`"),
    ],
)  # fmt: skip
def test_what_is_no_message_is_400(agent: APIClient, body: Any, code: int, part: str) -> None:
    response = agent.generic("POST", PATH, body, "application/json")

    assert part in error_of(response, 400, code)


def test_a_body_that_is_too_large_is_413(agent: APIClient, settings: Settings) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000

    response = agent.post(PATH, request("ping", {"a": "b" * 1000}))

    assert response.status_code == 413
    assert "at most 1000 bytes" in response.json()["errors"][0]["detail"]


def test_another_media_type_is_415(agent: APIClient) -> None:
    assert agent.generic("POST", PATH, "{}", "text/plain").status_code == 415


@pytest.mark.parametrize("header", ["1999-01-01", "draft"])
def test_an_unknown_revision_is_refused_with_those_that_are_supported(
    agent: APIClient, header: str
) -> None:
    response = sent(agent, "ping", **{"MCP-Protocol-Version": header})

    assert "2025-06-18" in error_of(response, 400, messages.UNSUPPORTED_VERSION)
    assert response.json()["error"]["data"]["supported"] == list(messages.VERSIONS)


@pytest.mark.parametrize(
    ("params", "headers", "code"),
    [
        ({}, {"Mcp-Method": "tools/list"}, messages.INVALID_PARAMS),
        ({"_meta": 7}, {"Mcp-Method": "tools/list"}, messages.INVALID_PARAMS),
        ({"_meta": ENVELOPE}, {}, messages.HEADER_MISMATCH),
        ({"_meta": ENVELOPE}, {"Mcp-Method": "tools/call"}, messages.HEADER_MISMATCH),
        ({"_meta": {**ENVELOPE, next(iter(ENVELOPE)): 1}}, {"Mcp-Method": "tools/list"},
         messages.HEADER_MISMATCH),
    ],
)  # fmt: skip
def test_an_envelope_that_disagrees_with_its_headers_is_refused(
    agent: APIClient, params: Any, headers: dict[str, str], code: int
) -> None:
    error_of(sent(agent, "tools/list", params, **LATEST, **headers), 400, code)


def test_the_name_in_the_header_may_be_encoded(agent: APIClient) -> None:
    params = {"name": "list_clusters", "_meta": ENVELOPE}
    headers = {**LATEST, "Mcp-Method": "tools/call"}

    for name in ("list_clusters", "=?base64?bGlzdF9jbHVzdGVycw==?="):
        assert sent(agent, "tools/call", params, **headers, **{"Mcp-Name": name}).status_code == 200
    error_of(
        sent(agent, "tools/call", params, **headers, **{"Mcp-Name": "x"}),
        400, messages.HEADER_MISMATCH,
    )  # fmt: skip


@pytest.mark.parametrize("method", ["tools/delete", "server/discover", "resources/list"])
def test_an_unknown_method_is_refused_with_those_that_exist(agent: APIClient, method: str) -> None:
    known = error_of(sent(agent, method), 200, messages.METHOD_NOT_FOUND)
    latest = sent(
        agent, "initialize", {"_meta": ENVELOPE}, **LATEST, **{"Mcp-Method": "initialize"}
    )

    assert "tools/call" in known
    assert "server/discover" in error_of(latest, 404, messages.METHOD_NOT_FOUND)


@pytest.mark.parametrize(
    "params", [{}, {"name": "rm"}, {"name": 7}, {"name": "list_clusters", "arguments": [1]}]
)
def test_a_call_of_no_tool_is_refused(agent: APIClient, params: Any) -> None:
    error_of(sent(agent, "tools/call", params), 200, messages.INVALID_PARAMS)


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://testserver", 200),
        ("https://trusted.example", 200),
        ("http://evil.example", 403),
        ("null", 403),
        ("http://[", 403),
    ],
)
def test_a_page_of_another_origin_is_refused(
    agent: APIClient, settings: Settings, origin: str, status: int
) -> None:
    settings.CSRF_TRUSTED_ORIGINS = ["https://trusted.example"]

    assert sent(agent, "ping", Origin=origin).status_code == status


def test_the_document_of_the_rest_api_does_not_contain_the_endpoint(client: APIClient) -> None:
    assert PATH not in json.loads(client.get("/openapi.json").content)["paths"]
