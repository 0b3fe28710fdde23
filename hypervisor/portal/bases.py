"""The base class of the members' pages."""

from collections.abc import Sequence
from typing import Any

from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.views.generic import TemplateView

from accounts.models import User
from hypervisor.portal.links import PAGES
from hypervisor.ui.live import layout


class PortalPage(LoginRequiredMixin, TemplateView):
    """A page for a person who has signed in; others are sent to the page to sign in.

    Its template extends `layout`. The browser fetches the block `live` again every `refresh_s`
    seconds, unless that is None. `section` is the part of the navigation to which it belongs.
    `breadcrumbs` are names with links, the last one without.
    """

    title: str
    section = ""
    refresh_s: int | None = None
    breadcrumbs: Sequence[tuple[str, str | None]] = ()

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.user.is_authenticated:
            self.prepare()
        return super().dispatch(request, *args, **kwargs)

    def prepare(self) -> None:
        """Read what the page is about, once it is known who has signed in."""

    @property
    def person(self) -> User:
        """The person who has signed in."""
        assert isinstance(self.request.user, User)  # noqa: S101 LoginRequiredMixin
        return self.request.user

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(
            layout=layout(self.request, "portal/page.html"),
            title=self.title,
            section=self.section,
            refresh_s=self.refresh_s,
            breadcrumbs=self.breadcrumbs,
            pages=PAGES,
            **kwargs,
        )
