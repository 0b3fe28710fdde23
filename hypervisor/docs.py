"""The documentation: the OpenAPI document, the page that shows it, and the pages as markdown.

All of it is public and needs no other server.
"""

from functools import cache
from pathlib import Path

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_safe
from drf_spectacular.views import SpectacularJSONAPIView, SpectacularSwaggerSplitView

from hypervisor import version

_SUMMARY = (
    "A scheduler for teams that share GPU clusters. People and programs submit deployments (an"
    " image, CPU, RAM, GPU, a priority). The scheduler decides which of them run and on which"
    " cluster, preempts less important ones if it has to, and always gives the reason."
)
_SECTIONS = {
    "Use it": {
        "guide.md": "a tour of the pages, then every call of the REST API in order",
        "webhooks.md": "events that are sent to an address: signatures, retries, replays",
        "notices.md": "mails and messages to people about their deployments, and rules for them",
        "agents.md": "the tools for agents at `/mcp` (Model Context Protocol)",
        "client.md": "the command line `hv`, and a Python client",
        "api.md": "what a program may rely on: the OpenAPI document, versions, promises",
        "scheduling.md": "the policy: what runs, waits or is evicted, the wait reasons",
    },
    "Operate it": {
        "operating.md": "production, engines, failures, backup, upgrades, metrics, alerts",
        "security.md": "the threat model, sign-in and sessions by ASVS, what is logged",
    },
    "Optional": {
        "architecture.md": "the parts of the code and the invariants between them",
        "benchmarks.md": "quality of the plans, cost of each threshold, speed",
    },
}
"""The pages of `/llms.txt` by section; those under `Optional` may be left out."""


class SchemaView(SpectacularJSONAPIView):
    authentication_classes = ()
    permission_classes = ()


class DocsView(SpectacularSwaggerSplitView):
    authentication_classes = ()
    permission_classes = ()
    url_name = "openapi"


@require_safe
def llms(request: HttpRequest) -> HttpResponse:
    """Return the overview for language models, in the form of llmstxt.org."""
    address = request.build_absolute_uri("/")
    lines = [f"# {version.NAME}", f"> {_SUMMARY}"]
    lines.append(f"The calls of the REST API are described by {address}openapi.json (OpenAPI).")
    for section, named in _SECTIONS.items():
        links = (
            f"- [{_title(name)}]({address}docs/{name}): {about}" for name, about in named.items()
        )
        lines += [f"## {section}", "\n".join(links)]
    return _plain("\n\n".join(lines) + "\n", "text/plain")


@require_safe
def page(request: HttpRequest, name: str) -> HttpResponse:
    """Return a page of the documentation as markdown."""
    if name not in _pages():
        raise Http404
    return _plain(_pages()[name], "text/markdown")


@cache
def _pages() -> dict[str, str]:
    """Return the pages that come with this release, by their paths in the folder `docs`."""
    folder = Path(settings.BASE_DIR, "docs")
    return {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8")
        for path in folder.rglob("*.md")
    }


def _title(name: str) -> str:
    return _pages()[name].partition("\n")[0].removeprefix("# ")


def _plain(text: str, media_type: str) -> HttpResponse:
    headers = {"Cache-Control": "public, max-age=300"}
    return HttpResponse(text, content_type=f"{media_type}; charset=utf-8", headers=headers)
