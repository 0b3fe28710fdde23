"""An MCP client for tests without a running service."""

from typing import Any

from rest_framework.test import APIClient

PATH = "/mcp"
ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}


def request(method: str, params: Any = None) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 7, "method": method, "params": params or {}}


def sent(client: APIClient, method: str, params: Any = None, **headers: str) -> Any:
    """Send a request of the revisions with a handshake; return the response."""
    return client.post(PATH, request(method, params), headers=headers)


def tool(client: APIClient, name: str, /, **arguments: Any) -> Any:
    """Call a tool; return what it returned as data. Fails if it was refused."""
    result = _called(client, name, arguments)
    assert not result["isError"], result["content"]
    return result["structuredContent"]


def refused(client: APIClient, name: str, /, **arguments: Any) -> str:
    """Call a tool that has to be refused; return the sentences."""
    result = _called(client, name, arguments)
    assert result["isError"]
    assert "structuredContent" not in result
    [content] = result["content"]
    return str(content["text"])


def _called(client: APIClient, name: str, arguments: dict[str, Any]) -> Any:
    response = sent(client, "tools/call", {"name": name, "arguments": arguments})
    assert response.status_code == 200, response.content
    return response.json()["result"]
