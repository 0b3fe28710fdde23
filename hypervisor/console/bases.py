"""Base classes of the admin's pages, which write only through services."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, time
from typing import Any, TypeVar
from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.contrib.admin.views.main import PAGE_VAR
from django.core.exceptions import PermissionDenied
from django.core.paginator import Page
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.dateparse import parse_date, parse_time
from django.utils.safestring import SafeString
from django.views.generic import TemplateView
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import DropdownFilter, RangeDateTimeFilter
from unfold.paginator import InfinitePaginator
from unfold.views import UnfoldModelAdminViewMixin

from hypervisor.base.errors import DomainError
from hypervisor.base.slices import part
from hypervisor.console.links import PAGES
from hypervisor.ui.data.event_kinds import grouped
from hypervisor.ui.live import layout
from hypervisor.ui.templatetags.blocks import badge
from scheduling.insight.operator_actions import ACTIONS

M = TypeVar("M", bound=Model)
P = TypeVar("P")


def permitted(verb: str) -> Callable[..., bool]:
    """Return a page's check of a permission on its model, such as `hold_deployment` for `hold`.

    Assigned to `has_hold_permission`, it is the check of actions with `permissions=["hold"]`.
    """

    def check(page: ModelAdmin, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm(f"{page.opts.app_label}.{verb}_{page.opts.model_name}")

    return check


def badge_of(state: str, text: str = "") -> SafeString:
    """Draw a state in a list as the other pages do."""
    return render_to_string("ui/badge.html", badge(state, text))


LAYOUT = "console/page.html"
"""The template of a whole page of the console."""

MOST_AT_ONCE = 300
"""The most rows of one action, because their ids have to fit into a URL."""


def preview_first(
    request: HttpRequest, action: str, queryset: QuerySet[Any]
) -> HttpResponseRedirect:
    """Redirect to the page that previews the action and asks for confirmation.

    Of more rows than fit there, all that the list shows are meant: its filters lead on to them.
    """
    ids = queryset.order_by("pk").values_list("pk", flat=True)[: MOST_AT_ONCE + 1]
    if len(ids) > MOST_AT_ONCE and ACTIONS[action].in_parts:
        filters = request.GET.copy()
        filters.pop(PAGE_VAR, None)
        page = reverse("many", args=[action])
        return HttpResponseRedirect(f"{page}?{filters.urlencode()}" if filters else page)
    query = urlencode({"ids": ",".join(map(str, ids)), "next": request.get_full_path()}, safe=",")
    return HttpResponseRedirect(f"{reverse('preview', args=[action])}?{query}")


class ConsolePage(UnfoldModelAdminViewMixin, TemplateView):  # type: ignore[misc]
    """A page of the console within the admin.

    Its template extends `layout`. The browser fetches the block `live` again every `refresh_s`
    seconds, unless that is None. `breadcrumbs` are names with links, the last one without.
    """

    title: str
    refresh_s: int | None = 5
    breadcrumbs: Sequence[tuple[str, str | None]] = ()

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(
            layout=layout(self.request, LAYOUT),
            refresh_s=self.refresh_s,
            breadcrumbs=self.breadcrumbs,
            pages=PAGES,
            **kwargs,
        )


_NEWEST = 5000

ROWS = 50
"""Rows of a list on a page: rendering one takes longer than reading it."""


class Audited:
    """Pages whose History button leads to the object's audit trail."""

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: Any = None
    ) -> HttpResponse:
        page: Any = self
        if not page.has_view_or_change_permission(request):
            raise PermissionDenied
        query = {"model": page.opts.label_lower, "object_id": object_id}
        trail = reverse("admin:accounts_auditentry_changelist")
        return HttpResponseRedirect(f"{trail}?{urlencode(query)}")


class Acting:
    """Pages with actions that call a service for each of the chosen objects."""

    def carry_out(
        self, request: HttpRequest, objects: Iterable[M], verb: Callable[..., Any], done: str
    ) -> None:
        """Call the service for each object, and show a message of the outcome."""
        page: Any = self
        count = 0
        for obj in objects:
            try:
                verb(obj, actor=request.user.get_username())
                count += 1
            except DomainError as error:
                page.message_user(request, error.detail, messages.WARNING)
        if count:
            page.message_user(request, f"{count} {done}.", messages.SUCCESS)


class OnlyNamed:
    """Pages whose deletion names only the chosen objects: the service decides about the others."""

    def get_deleted_objects(
        self, objs: Iterable[Model], request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        page: Any = self
        names = [str(obj) for obj in objs]
        return names, {str(page.opts.verbose_name_plural): len(names)}, set(), []


class ServiceAdmin(OnlyNamed, Acting, Audited, ModelAdmin):  # type: ignore[misc]
    """Pages that write through services; a service's refusal is shown as a message."""

    show_full_result_count = False
    list_per_page = ROWS

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        raise NotImplementedError(f"{self}: call the services that add and change a row.")

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        if formset.has_changed():
            raise NotImplementedError(f"{self}: call the services that change {formset}.")
        formset.save(commit=False)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        raise NotImplementedError(f"{self}: call the service that deletes a row.")

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        raise NotImplementedError(f"{self}: call the service that deletes a row.")

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return self._with_messages(super().changeform_view, request, *args, **kwargs)

    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return self._with_messages(super().delete_view, request, *args, **kwargs)

    def _with_messages(
        self, view: Callable[..., HttpResponse], request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        # The view's transaction has been rolled back when the error gets here.
        try:
            return view(request, *args, **kwargs)
        except DomainError as error:
            self.message_user(request, error.detail, messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())


class Uncounted(InfinitePaginator):  # type: ignore[misc]
    """Pages of a list whose rows are not counted; only the shown ones are joined to others."""

    is_uncounted = True

    def page(self, number: int | str) -> Page[Any]:
        valid: int = self.validate_number(number)
        last = valid * self.per_page
        rows = part(self.object_list, last - self.per_page, last)
        page: Page[Any] = self._get_page(rows, valid, self)
        return page


class HistoryAdmin(ModelAdmin):  # type: ignore[misc]
    """Read-only pages of tables that only the product writes.

    Such tables grow without limit, so their rows are never counted.
    """

    show_full_result_count = False
    paginator = Uncounted
    list_per_page = ROWS

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class Checkboxes(forms.CheckboxSelectMultiple):
    """Many choices as check boxes in a box that scrolls, which needs neither script nor width."""

    template_name = "console/checkboxes.html"


class ManyAsCheckboxes:
    """Forms in which a relation to many rows is a list of check boxes."""

    filter_horizontal = ()

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        label = str(db_field.verbose_name).capitalize()
        widget = Checkboxes({"aria-label": label})
        page: Any = super()
        return page.formfield_for_manytomany(db_field, request, **kwargs | {"widget": widget})


class KindFilter(DropdownFilter):  # type: ignore[misc]
    """Filter by a kind of event: those of the newest rows, because reading all takes too long."""

    title = "kind of event"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        rows = model_admin.model.objects.order_by("-pk").values_list("kind", flat=True)
        present: list[tuple[str, Any]] = grouped({*rows[:_NEWEST], self.value()})
        return present

    def queryset(self, request: HttpRequest, queryset: QuerySet[M]) -> QuerySet[M]:
        return queryset.filter(kind=self.value()) if self.value() else queryset


class TimeFilter(RangeDateTimeFilter):  # type: ignore[misc]
    """Filter between two times in UTC; a date alone means its start, or its end."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[M]) -> QuerySet[M]:
        for bound, lookup, default in (("from", "gte", time.min), ("to", "lte", time.max)):
            name = f"{self.parameter_name}_{bound}"
            date = _parsed(parse_date, self.used_parameters.get(f"{name}_0"))
            clock = _parsed(parse_time, self.used_parameters.get(f"{name}_1")) or default
            if date:
                moment = datetime.combine(date, clock, UTC)
                queryset = queryset.filter(**{f"{self.parameter_name}__{lookup}": moment})
        return queryset


def _parsed(parse: Callable[[str], P | None], text: str | None) -> P | None:
    try:
        return parse(text or "")
    except ValueError:
        return None
