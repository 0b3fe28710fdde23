"""The base of the pages that belong to no table of their own."""

from typing import Any

from hypervisor.console.bases import ConsolePage


class OperatePage(ConsolePage):
    """A page under its own title alone: the theme would put it below the table it hangs on."""

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = super().get_context_data(**kwargs)
        return context | {"model_admin": None, "content_title": self.title}
