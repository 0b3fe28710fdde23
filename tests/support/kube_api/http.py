"""The API server's HTTP side: authentication, RBAC, injected faults, responses and streams."""

import json
import re
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from tests.support.kube_api.rbac import Account, Attributes
from tests.support.kube_api.routes import Request, Routes
from tests.support.kube_api.status import ApiError

if TYPE_CHECKING:
    from tests.support.kube_api.cluster import KubeCluster

Json = dict[str, Any]
Stream = Iterator[bytes]

_PATH = re.compile(
    r"/api/v1(/namespaces/(?P<namespace>[^/]+))?"
    r"/(?P<resource>pods|nodes|resourcequotas|events|configmaps|secrets|namespaces)"
    r"(/(?P<name>[^/]+)(/(?P<sub>log))?)?"
)
_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_EVERYBODYS = {"version", "selfsubjectaccessreviews"}
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass(frozen=True, slots=True)
class Fault:
    """The response to inject for the next call with this method and this part in its path."""

    method: str
    part: str
    answer: ApiError | None
    after: bool


@dataclass(slots=True)
class Server:
    """`requests` has all requests in order; `clients` the names in the clients' certificates."""

    cluster: "KubeCluster"
    tls: ssl.SSLContext | None = None
    requests: list[Request] = field(default_factory=list)
    clients: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    _http: ThreadingHTTPServer | None = None
    _thread: threading.Thread | None = None

    def start(self) -> None:
        handler = type("Handler", (_Handler,), {"api": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._http.daemon_threads = True
        if self.tls:
            self._http.socket = self.tls.wrap_socket(
                self._http.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        assert self._http
        assert self._thread
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        assert self._http
        scheme = "https" if self.tls else "http"
        return f"{scheme}://127.0.0.1:{self._http.server_address[1]}"

    def fail_next(
        self, method: str, part: str, answer: ApiError | None, *, after: bool = False
    ) -> None:
        """Inject a response to the next such request; None closes the connection.

        With `after`, the request is carried out first.
        """
        self.faults.append(Fault(method, part, answer, after))

    def take_fault(self, request: Request) -> Fault | None:
        for fault in self.faults:
            if fault.method == request.method and fault.part in request.path:
                self.faults.remove(fault)
                return fault
        return None


class _Handler(BaseHTTPRequestHandler):
    api: Server
    protocol_version = "HTTP/1.1"

    def handle(self) -> None:
        if isinstance(self.connection, ssl.SSLSocket):
            # In the connection's own thread, so that a client that refuses it disturbs no other.
            try:
                self.connection.do_handshake()
            except (OSError, ssl.SSLError):
                return
            shown: Any = self.connection.getpeercert() or {}
            self.api.clients += [name[0][1] for name in shown.get("subject", ())]
        super().handle()

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else {}
        try:
            request = self._request(body)
            self.api.requests.append(request)
            fault = self.api.take_fault(request)
            if fault and not fault.after:
                return self._fail(fault.answer)
            account = self._authorized(request)
            answer = Routes(self.api.cluster, account).answer(request)
            if fault:
                return self._fail(fault.answer)
        except ApiError as error:
            return self._fail(error)
        if isinstance(answer, dict):
            return self._send(201 if request.method == "POST" else 200, answer)
        return self._stream(answer)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle  # noqa: N815 the base class's names

    def _request(self, body: Json) -> Request:
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query))
        if parts.path == "/version/":
            return Request(self.command, parts.path, query, body,
                           Attributes("get", "version", None, None))  # fmt: skip
        if parts.path == _REVIEWS:
            review = Attributes("create", "selfsubjectaccessreviews", None, None)
            return Request(self.command, parts.path, query, body, review)
        found = _PATH.fullmatch(parts.path)
        if found is None:
            raise ApiError(404, "NotFound", "the server could not find the requested resource")
        resource, name = found["resource"], found["name"]
        verb = _VERBS.get(self.command) or ("get" if name else "list")
        if verb == "list" and query.get("watch", "").lower() == "true":
            verb = "watch"
        if self.command == "PATCH" and "strategic-merge" not in self.headers["Content-Type"]:
            raise ApiError(
                415, "UnsupportedMediaType", "the body of the request was in an unknown format"
            )
        namespace = name if resource == "namespaces" else found["namespace"]
        resource = f"{resource}/{found['sub']}" if found["sub"] else resource
        return Request(self.command, parts.path, query, body,
                       Attributes(verb, resource, namespace, name))  # fmt: skip

    def _authorized(self, request: Request) -> Account:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        account = next((a for a in self.api.cluster.accounts if a.token == token), None)
        if account is None:
            raise ApiError(401, "Unauthorized", "Unauthorized")
        if request.attributes.resource not in _EVERYBODYS:
            account.check(request.attributes)
        return account

    def _fail(self, error: ApiError | None) -> None:
        if error is None:
            self.close_connection = True
            return
        self._send(error.code, error.status, error.headers)

    def _send(self, code: int, answer: Json, headers: dict[str, str] | None = None) -> None:
        content = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def _stream(self, pieces: Stream) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            for piece in pieces:
                if piece:
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                    self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Log nothing, because the tests read `requests`."""
