"""A real OpenID Connect provider for the tests, and people who sign in to it."""

import json
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx

from hypervisor.standalone.home import free_port

SCRIPT = Path(__file__).with_suffix(".mjs")
CLIENT_ID = "hypervisor"
CLIENT_SECRET = "a secret of the tests, long enough"


class Provider:
    """A running provider; `claims` has by login what it claims about a person."""

    def __init__(self, port: int, file: Path) -> None:
        self.issuer = f"http://127.0.0.1:{port}"
        self._file = file
        self.claims: dict[str, dict[str, Any]] = {}

    def knows(self, login: str, **claims: Any) -> None:
        """Let the provider claim this about the person from now on."""
        self.claims[login] = claims
        self._file.write_text(json.dumps(self.claims))

    def sign_in(self, address: str, login: str) -> str:
        """Sign in at the address as a browser does; return where the provider leads back to."""
        with httpx.Client() as browser:
            page = browser.get(address)
            for form in (
                {"prompt": "login", "login": login, "password": "any"},
                {"prompt": "consent"},
            ):
                page = self._here(browser, page)
                if page.is_redirect:
                    break
                action = re.search(r'action="([^"]+)"', page.text)
                assert action, page.text
                page = browser.post(urljoin(self.issuer, unescape(action[1])), data=form)
            return self._here(browser, page).headers["Location"]

    def _here(self, browser: httpx.Client, page: httpx.Response) -> httpx.Response:
        """Follow the redirects within the provider."""
        while page.is_redirect:
            target = urljoin(str(page.url), page.headers["Location"])
            if not target.startswith(self.issuer):
                break
            page = browser.get(target)
        return page


@contextmanager
def provider_running(modules: Path, addresses: list[str]) -> Iterator[Provider]:
    """Run a provider in this block, for a service at these addresses.

    `modules` is the folder with `node_modules`.
    """
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "claims.json"
        file.write_text("{}")
        process = subprocess.Popen(
            ["node", str(SCRIPT), str(port), str(file), *addresses],
            cwd=modules, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        try:
            assert process.stdout is not None
            assert any("listening" in line for line in process.stdout)
            yield Provider(port, file)
        finally:
            process.terminate()
            process.wait(10)
            if process.stdout:
                process.stdout.close()
