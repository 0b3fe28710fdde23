"""A small client of the API that uses none of the product's code."""

import json
import secrets
import time
from http.client import HTTPConnection, HTTPException
from typing import Any, Self
from urllib.parse import urlsplit

PASSWORD = secrets.token_urlsafe()


class ApiError(Exception):
    """An error response of the API, with its status and its body."""

    def __init__(self, call: str, status: int, body: str) -> None:
        super().__init__(f"{call} returned {status}: {body}")
        self.status = status


class Client:
    """A JSON client with one persistent connection, for one thread.

    A call that fails to connect or returns a 5xx status is repeated for `patience_s` seconds. Every
    POST has an Idempotency-Key, so that a repeated call takes effect at most once.
    """

    def __init__(self, url: str, token: str = "", patience_s: float = 0) -> None:
        address = urlsplit(url)
        self.url = url
        self._connection = HTTPConnection(address.hostname or "", address.port, timeout=30)
        self._token = token
        self._patience_s = patience_s

    @classmethod
    def newcomer(cls, url: str, username: str, patience_s: float = 0) -> Self:
        """Register a user and return a client that is logged in as the user."""
        client = cls(url, patience_s=patience_s)
        client.post("/register", username=username, password=PASSWORD)
        client.log_in(username)
        return client

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    @property
    def token(self) -> str:
        """Return the access token, "" before a log-in."""
        return self._token

    def log_in(self, username: str, password: str = PASSWORD) -> None:
        tokens = self.post("/token", username=username, password=password)
        self._token = tokens["access_token"]

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
        """Return the body of a response that is not JSON; empty for an error."""
        headers = {"Authorization": f"Bearer {self._token}"}
        status, text = self._exchange("GET", path, None, headers)
        return text.encode() if status < 400 else b""

    def delete(self, path: str) -> None:
        self._call("DELETE", path)

    def list(self, path: str) -> list[dict[str, Any]]:
        """Return the rows of all pages of a list. The path may have a query string."""
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
        response = self._connection.getresponse()
        return response.status, response.read().decode()
