"""The documentation as programs read it: `/llms.txt` and the pages as markdown."""

import re
from pathlib import PurePosixPath
from posixpath import normpath
from urllib.parse import urljoin, urlsplit

import pytest
from django.test import Client

from hypervisor.standalone.bootstrap import ROOT

PAGES = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")}


def links_of(client: Client, path: str) -> set[str]:
    """Return the paths that a page of this service links."""
    text = client.get(path).content.decode()
    targets = (urljoin(f"http://testserver{path}", t) for t in re.findall(r"\]\(([^)]+)\)", text))
    return {urlsplit(t).path for t in targets if urlsplit(t).netloc == "testserver"}


def test_llms_txt_has_the_form_and_names_each_page(client: Client) -> None:
    response = client.get("/llms.txt")
    text = response.content.decode()

    title, summary, *_ = text.split("\n\n")
    assert title == "# MLOps Hypervisor"
    assert summary.startswith("> A scheduler")
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert [line for line in text.splitlines() if line.startswith("- ")] == re.findall(
        r"^- \[[^]]+\]\(http://testserver/[^)]+\): .+$", text, re.M
    )
    top = {f"/{page}" for page in PAGES if len(PurePosixPath(page).parts) == 2}
    assert links_of(client, "/llms.txt") == top


def test_every_page_that_is_linked_from_there_is_served_as_markdown(client: Client) -> None:
    seen: set[str] = set()
    waiting = {"/llms.txt"}
    while waiting:
        path = waiting.pop()
        seen.add(path)
        waiting |= {link for link in links_of(client, path) if link.endswith(".md")} - seen
    pages = seen - {"/llms.txt"}

    assert pages <= {f"/{page}" for page in PAGES}
    assert [p for p in pages if "/decisions/" in p]
    for path in pages:
        response = client.get(path)
        assert response.status_code == 200, path
        assert response.headers["Content-Type"] == "text/markdown; charset=utf-8"
        assert response.content.startswith(b"# ")


@pytest.mark.parametrize(
    "path",
    ["/docs/../README.md", "/docs/nothing.md", "/docs/%2e%2e/README.md", "/docs/frontier.svg"],
)
def test_nothing_else_is_served(client: Client, path: str) -> None:
    assert client.get(path).status_code == 404
    assert client.post("/llms.txt").status_code == 405


def test_the_image_has_the_pages() -> None:
    kept = (ROOT / ".dockerignore").read_text().splitlines()

    assert {"!docs/*.md", "!docs/decisions/*.md"} <= set(kept)
    folders = {normpath(str(PurePosixPath(page).parent)) for page in PAGES}
    assert folders == {"docs", "docs/decisions"}
