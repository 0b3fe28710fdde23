"""Links to the pages of things, which each door has at other addresses.

A page's context has `pages`: the name of the URL pattern for each kind of thing that has a page
there. What has none is plain text.
"""

from typing import Any

from django import template
from django.template import Context
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode

register = template.Library()


@register.simple_block_tag(takes_context=True)
def link(context: Context, content: str, kind: str, *arguments: Any, **query: Any) -> str:
    """Link the content to a page: `{% link "deployment" row.pk %}{{ row.name }}{% endlink %}`."""
    address = page_of(context, kind, *arguments, **query)
    return format_html('<a href="{}">{}</a>', address, content) if address else content


@register.simple_tag(takes_context=True)
def page_of(context: Context, kind: str, *arguments: Any, **query: Any) -> str:
    """Return the address of a page in the door of the present page, "" if there is none."""
    name = context["pages"].get(kind)
    if name is None:
        return ""
    address = reverse(name, args=arguments)
    return f"{address}?{urlencode(query)}" if query else address
