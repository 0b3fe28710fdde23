"""The way to a page of the console: the pages above it, and its title."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django import template
from django.db.models import Model
from django.urls import reverse

from clusters.models import Cluster
from hypervisor.console.navigation import name_of

register = template.Library()


@dataclass(frozen=True, slots=True)
class Trail:
    """The names and addresses of the pages above a page, the highest first, and its own title."""

    parents: tuple[tuple[str, str], ...]
    title: str


@register.simple_tag(takes_context=True, name="trail")
def trail(context: Mapping[str, Any]) -> Trail:
    """Return the way to the page with the context."""
    if steps := context.get("breadcrumbs"):
        return Trail(tuple(steps[:-1]), str(context["title"]))
    if not context.get("opts"):
        return Trail((), str(context.get("content_title") or context.get("title") or ""))
    return Trail(tuple(_parents(context)), _title(context))


def _parents(context: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    opts = context["opts"]
    if not context.get("cl"):
        yield name_of(opts), reverse(f"admin:{opts.app_label}_{opts.model_name}_changelist")
    row = _row(context)
    if row is not None and not _is_form_of(row, context):
        yield str(getattr(row, "name", row)), _page_of(row)
    elif isinstance(row, Cluster):
        yield row.name, reverse("cluster", args=[row.pk])


def _title(context: Mapping[str, Any]) -> str:
    row = _row(context)
    if context.get("cl"):
        return name_of(context["opts"])
    if row is None or not _is_form_of(row, context):
        return str(context["title"])
    return f"Settings of {row}" if isinstance(row, Cluster) else str(row)


def _row(context: Mapping[str, Any]) -> Model | None:
    """Return the row that the page is about, if it is about one."""
    found = context.get("original") or context.get("object")
    return found if isinstance(found, Model) else None


def _is_form_of(row: Model, context: Mapping[str, Any]) -> bool:
    """Return whether the page is the row's own form, not one of its further pages."""
    return bool(context.get("adminform")) and context.get("change") is True


def _page_of(row: Model) -> str:
    if isinstance(row, Cluster):
        return reverse("cluster", args=[row.pk])
    opts = row._meta
    return reverse(f"admin:{opts.app_label}_{opts.model_name}_change", args=[row.pk])
