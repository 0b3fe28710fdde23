"""The base of pages that stand outside a table's list."""

from typing import Any

from hypervisor.console.bases import ConsolePage


class TopLevelPage(ConsolePage):
    """A page with only its own title; otherwise the theme would add the title of a table."""

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = super().get_context_data(**kwargs)
        return context | {"model_admin": None, "content_title": self.title}
