"""A registry of images on this machine, which can be slow, closed or broken.

Docker Engine pulls from 127.0.0.1 without TLS. Only the requests of a pull are supported.
"""

import gzip
import hashlib
import json
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from types import TracebackType
from typing import Any

from tests.support import docker_image

_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
_CODES = {401: "UNAUTHORIZED", 403: "DENIED", 429: "TOOMANYREQUESTS"}
_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


class Registry:
    """Has `{host}/busybox:1`, and `{host}/foreign:1` for another architecture.

    `refuse` is a status for every request. While `open_` is not set, requests for layers wait.
    `login`, a user and a password, is needed for every request if it is set.
    """

    def __init__(self) -> None:
        self.refuse: int | None = None
        self.login: tuple[str, str] | None = None
        self.open_ = Event()
        self.open_.set()
        self.asked: list[str] = []
        self._blobs: dict[str, bytes] = {}
        self._manifest = self._pack()
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                registry._answer(self)

            do_HEAD = do_GET  # noqa: N815 what the server calls

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.host = f"127.0.0.1:{self._server.server_port}"
        self.image = f"{self.host}/busybox:1"

    def __enter__(self) -> "Registry":
        Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.open_.set()
        self._server.shutdown()
        self._server.server_close()

    def _pack(self) -> bytes:
        layer = docker_image.files()
        # Each registry has different content, so that no engine already has the layer.
        packed = gzip.compress(layer, compresslevel=1)
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"], "Labels": {"registry": str(id(self))}},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{_sha(layer)}"]},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": self._keep("container.image.v1", json.dumps(config).encode()),
            "layers": [self._keep("image.rootfs.diff.tar.gzip", packed)],
        }
        return json.dumps(manifest).encode()

    def _keep(self, kind: str, blob: bytes) -> dict[str, Any]:
        digest = f"sha256:{_sha(blob)}"
        self._blobs[digest] = blob
        media = f"application/vnd.docker.{kind}" + ("+json" if "v1" in kind else "")
        return {"mediaType": media, "size": len(blob), "digest": digest}

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        path = request.path.rstrip("/")
        self.asked.append(path)
        if self.login and request.headers.get("Authorization") != _basic(*self.login):
            return _send(request, 401, _errors("UNAUTHORIZED", "authentication required"))
        if path == "/v2":
            return _send(request, 200, b"{}")
        if self.refuse:
            return _send(
                request, self.refuse, _errors(_CODES.get(self.refuse, "UNKNOWN"), "not now")
            )
        if path == "/v2/busybox/manifests/1" or path.endswith(_sha(self._manifest)):
            return _send(request, 200, self._manifest, _MANIFEST)
        if path.startswith("/v2/foreign/manifests/"):
            return _send(request, 200, _foreign(), _LIST)
        blob = self._blobs.get(path.rpartition("/")[2])
        if blob is None:
            return _send(request, 404, _errors("MANIFEST_UNKNOWN", "manifest unknown"))
        self.open_.wait(60)
        return _send(request, 200, blob, "application/octet-stream")


def _foreign() -> bytes:
    """Return a list of manifests without one for this machine."""
    platform = {"architecture": "s390x", "os": "linux"}
    entry = {"mediaType": _MANIFEST, "size": 1, "digest": f"sha256:{_sha(b'')}"}
    manifests = [entry | {"platform": platform}]
    return json.dumps({"schemaVersion": 2, "mediaType": _LIST, "manifests": manifests}).encode()


def _send(
    request: BaseHTTPRequestHandler, status: int, body: bytes, kind: str = "application/json"
) -> None:
    request.send_response(status)
    request.send_header("Content-Type", kind)
    request.send_header("Content-Length", str(len(body)))
    request.send_header("Docker-Distribution-Api-Version", "registry/2.0")
    if status == 401:
        request.send_header("WWW-Authenticate", 'Basic realm="registry"')
    request.send_header("Docker-Content-Digest", f"sha256:{_sha(body)}")
    request.end_headers()
    if request.command == "GET":
        request.wfile.write(body)


def _basic(user: str, password: str) -> str:
    return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"


def _errors(code: str, message: str) -> bytes:
    return json.dumps({"errors": [{"code": code, "message": message}]}).encode()


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
