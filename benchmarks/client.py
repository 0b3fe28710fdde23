"""A small client of the API, as a program in another company would write it."""

import json
import secrets
import time
from http.client import HTTPConnection, HTTPException
from typing import Any, Self
from urllib.parse import urlsplit

PASSWORD = secrets.token_urlsafe()


class ApiError(Exception):
    """The API refused: `status`, and the body with its reasons."""

    def __init__(self, call: str, status: int, body: str) -> None:
        super().__init__(f"{call} answered {status}: {body}")
        self.status = status


class Client:
    """Speaks JSON over one kept connection; for one thread.

    A call that fails for want of a connection or with a server's error is made again for
    `patience_s` seconds. Every POST carries an Idempotency-Key, so that repeats it at most once.
    """

    def __init__(self, url: str, token: str = "", patience_s: float = 0) -> None:
        address = urlsplit(url)
        self.url = url
        self._connection = HTTPConnection(address.hostname or "", address.port, timeout=30)
        self._token = token
        self._patience_s = patience_s

    @classmethod
    def newcomer(cls, url: str, username: str, patience_s: float = 0) -> Self:
        """Register somebody and return a client that is logged in."""
        client = cls(url, patience_s=patience_s)
        client.post("/register", username=username, password=PASSWORD)
        client.log_in(username)
        return client

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def log_in(self, username: str) -> None:
        answer = self.post("/token", username=username, password=PASSWORD)
        self._token = answer["access_token"]

    def sibling(self) -> Self:
        """Return a client of the same user for another thread."""
        return type(self)(self.url, self._token, self._patience_s)

    def get(self, path: str) -> Any:
        return self._call("GET", path)

    def post(self, path: str, **body: Any) -> Any:
        return self._call("POST", path, body)

    def patch(self, path: str, **body: Any) -> Any:
        return self._call("PATCH", path, body)

    def text(self, path: str) -> bytes:
        """Return an answer that is no JSON."""
        headers = {"Authorization": f"Bearer {self._token}"}
        status, text = self._exchange("GET", path, None, headers)
        return text.encode() if status < 400 else b""

    def delete(self, path: str) -> None:
        self._call("DELETE", path)

    def list(self, path: str) -> list[dict[str, Any]]:
        """Return all pages of a list; the path holds a query string already or none."""
        rows: list[dict[str, Any]] = []
        address: str | None = f"{path}{'&' if '?' in path else '?'}limit=500"
        while address:
            page = self.get(address)
            rows += page["results"]
            address = (
                page["next"] and urlsplit(page["next"])._replace(scheme="", netloc="").geturl()
            )
        return rows

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        headers = {"Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        if method == "POST":
            headers["Idempotency-Key"] = secrets.token_hex(16)
        payload = None if body is None else json.dumps(body)
        deadline = time.monotonic() + self._patience_s
        while True:
            try:
                status, text = self._exchange(method, path, payload, headers)
                if status < 500 or time.monotonic() > deadline:
                    break
            except (HTTPException, OSError):
                self._connection.close()
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.1)
        if status >= 400:
            raise ApiError(f"{method} {path}", status, text)
        return json.loads(text) if text else None

    def _exchange(
        self, method: str, path: str, payload: str | None, headers: dict[str, str]
    ) -> tuple[int, str]:
        self._connection.request(method, path, payload, headers)
        answer = self._connection.getresponse()
        return answer.status, answer.read().decode()
