"""Bases of every app's pages in the operators' admin: nothing there writes past the services."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from django.contrib import messages
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.views.generic import TemplateView
from unfold.admin import ModelAdmin
from unfold.views import UnfoldModelAdminViewMixin

from accounts.errors import DomainError

M = TypeVar("M", bound=Model)


def permitted(verb: str) -> Callable[..., bool]:
    """Return a page's check of a permission of its model: `hold` asks for `hold_deployment`.

    As `has_hold_permission` of the page it is what `permissions=["hold"]` of an action asks.
    """

    def check(page: ModelAdmin, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm(f"{page.opts.app_label}.{verb}_{page.opts.model_name}")

    return check


def layout(request: HttpRequest) -> str:
    """Return what a page's template extends: the whole layout, or its live part alone."""
    live = request.headers.get("X-Fragment") == "live"
    return "console/fragment.html" if live else "console/page.html"


class ConsolePage(UnfoldModelAdminViewMixin, TemplateView):  # type: ignore[misc]
    """A page of our own in the admin, reached through a model's `get_custom_urls`.

    Its template extends `layout`. What it puts into the block `live` is fetched again every
    `refresh_s` seconds, unless that is None. `breadcrumbs` are names with links, the last without.
    """

    title: str
    refresh_s: int | None = 5
    breadcrumbs: Sequence[tuple[str, str | None]] = ()

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(
            layout=layout(self.request),
            refresh_s=self.refresh_s,
            breadcrumbs=self.breadcrumbs,
            **kwargs,
        )


class ServiceAdmin(ModelAdmin):  # type: ignore[misc]
    """Pages whose writes are services: what one refuses is shown as a message."""

    show_full_result_count = False

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return self._with_messages(super().changeform_view, request, *args, **kwargs)

    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return self._with_messages(super().delete_view, request, *args, **kwargs)

    def get_deleted_objects(
        self, objs: Iterable[Model], request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """Confirm what is named alone: what hangs on it goes with it, if the service lets it."""
        names = [str(obj) for obj in objs]
        return names, {str(self.opts.verbose_name_plural): len(names)}, set(), []

    def carry_out(
        self, request: HttpRequest, objects: Iterable[M], verb: Callable[..., Any], done: str
    ) -> None:
        """Call the service for each object, and say what became of it."""
        count = 0
        for obj in objects:
            try:
                verb(obj, actor=request.user.get_username())
                count += 1
            except DomainError as error:
                self.message_user(request, error.detail, messages.WARNING)
        if count:
            self.message_user(request, f"{count} {done}.", messages.SUCCESS)

    def _with_messages(
        self, view: Callable[..., HttpResponse], request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        # The view's own transaction is over, and rolled back, when the error gets here.
        try:
            return view(request, *args, **kwargs)
        except DomainError as error:
            self.message_user(request, error.detail, messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())


class HistoryAdmin(ModelAdmin):  # type: ignore[misc]
    """Pages of what is written by the product alone: to be read, never changed."""

    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
