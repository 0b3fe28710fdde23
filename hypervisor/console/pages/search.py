"""The page of what a search finds, and the first hits while one types in the sidebar."""

from typing import Any

from hypervisor.console.navigation import pages_named
from hypervisor.console.pages.base import TopLevelPage
from hypervisor.console.search import NAMES_READ, search

_HITS, _FIRST_HITS = 25, 5


class SearchPage(TopLevelPage):
    title = "Search"
    permission_required = ()
    template_name = "console/search.html"
    refresh_s = None

    def get_template_names(self) -> list[str]:
        return ["console/found.html" if self._while_typing else self.template_name]

    @property
    def _while_typing(self) -> bool:
        return "HX-Request" in self.request.headers

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        text = self.request.GET.get("q", "").replace("\0", "").strip()[:200]
        most = _FIRST_HITS if self._while_typing else _HITS
        kinds = search(self.request, text, most)
        named = pages_named(self.request, text) if text else []
        return super().get_context_data(
            text=text,
            named=named,
            kinds=kinds,
            count=len(named) + sum(len(kind.hits) for kind in kinds),
            more=any(kind.more for kind in kinds),
            names_read=NAMES_READ,
            brief=self._while_typing,
            **kwargs,
        )
