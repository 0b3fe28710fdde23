"""Messages of the Model Context Protocol in its revisions: what a client may send.

Up to 2025-11-25, a client begins with `initialize`. Since 2026-07-28, each request has an envelope
instead: `_meta` names the revision and the client's capabilities, and headers repeat the method.
"""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS = -32700, -32600, -32601, -32602
HEADER_MISMATCH, UNSUPPORTED_VERSION = -32020, -32022

WITH_HANDSHAKE = ("2025-03-26", "2025-06-18", "2025-11-25")
WITH_ENVELOPE = ("2026-07-28",)
VERSIONS = (*WITH_HANDSHAKE, *WITH_ENVELOPE)

VERSION_HEADER, METHOD_HEADER, NAME_HEADER = "MCP-Protocol-Version", "Mcp-Method", "Mcp-Name"
SERVER_INFO = "io.modelcontextprotocol/serverInfo"
_ENVELOPE = (
    "io.modelcontextprotocol/protocolVersion",
    "io.modelcontextprotocol/clientCapabilities",
)

_ALWAYS_BAD = (PARSE_ERROR, INVALID_REQUEST, UNSUPPORTED_VERSION)

Id = str | int | None


@dataclass
class ProtocolError(Exception):
    """A message that is refused, with a code of JSON-RPC or of the protocol."""

    code: int
    text: str
    data: Any = None


@dataclass(frozen=True, slots=True)
class Message:
    """A request, or a notification, whose `id` is None."""

    method: str
    params: Mapping[str, Any]
    id: Id
    version: str

    @property
    def has_envelope(self) -> bool:
        return self.version in WITH_ENVELOPE


def id_of(document: Any) -> Id:
    """Return the id that an answer to this document repeats, None if it has no valid one."""
    given = document.get("id") if isinstance(document, dict) else None
    return given if isinstance(given, str | int) and not isinstance(given, bool) else None


def read(document: Any, headers: Mapping[str, str]) -> Message:
    """Return the message in the body of a request. Raises ProtocolError."""
    if isinstance(document, list):
        raise _invalid("Batches are not supported: send one message in each request.")
    if not isinstance(document, dict) or document.get("jsonrpc") != "2.0":
        raise _invalid('Send a JSON-RPC message: an object with `"jsonrpc": "2.0"`.')
    method, params = document.get("method"), document.get("params", {})
    if not isinstance(method, str):
        raise _invalid("`method` must be a text: this server sends no requests to answer.")
    if "id" in document and id_of(document) is None:
        raise _invalid("`id` must be a text or a whole number; a notification has none.")
    if not isinstance(params, dict):
        raise _invalid("`params` must be an object.")
    message = Message(method, params, id_of(document), _version(method, headers))
    if message.has_envelope and message.id is not None:
        _check_envelope(message, headers)
    return message


def status_of(code: int, message: Message | None) -> HTTPStatus:
    """Return the HTTP status of an error; before 2026-07-28, a request that was read got 200."""
    if code in _ALWAYS_BAD:
        return HTTPStatus.BAD_REQUEST
    if message is not None and not message.has_envelope:
        return HTTPStatus.OK
    return HTTPStatus.NOT_FOUND if code == METHOD_NOT_FOUND else HTTPStatus.BAD_REQUEST


def _version(method: str, headers: Mapping[str, str]) -> str:
    given = headers.get(VERSION_HEADER, WITH_HANDSHAKE[0])
    if given in VERSIONS:
        return given
    if method == "initialize":
        return WITH_HANDSHAKE[0]  # The handshake itself negotiates the version.
    raise ProtocolError(
        UNSUPPORTED_VERSION,
        f"{VERSION_HEADER} must be one of {', '.join(VERSIONS)}.",
        {"supported": VERSIONS, "requested": given},
    )


def _check_envelope(message: Message, headers: Mapping[str, str]) -> None:
    meta = message.params.get("_meta")
    missing = [key for key in _ENVELOPE if not isinstance(meta, dict) or key not in meta]
    if missing or not isinstance(meta, dict):
        raise ProtocolError(INVALID_PARAMS, f"`params._meta` lacks {' and '.join(missing)}.")
    repeated = {VERSION_HEADER: meta[_ENVELOPE[0]], METHOD_HEADER: message.method}
    if message.method == "tools/call":
        repeated[NAME_HEADER] = message.params.get("name")
    for header, value in repeated.items():
        if headers.get(header) not in _spellings(value):
            raise ProtocolError(HEADER_MISMATCH, f"The header {header} differs from the body.")


def _spellings(value: Any) -> set[Any]:
    """Return how a header may have a value: a text with other characters than ASCII is encoded."""
    if not isinstance(value, str):
        return set()
    return {value, f"=?base64?{b64encode(value.encode()).decode()}?="}


def _invalid(text: str) -> ProtocolError:
    return ProtocolError(INVALID_REQUEST, text)
