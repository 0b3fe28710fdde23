"""Links to the pages of things in the present door."""

import pytest
from django.template import Context, Template
from django.urls import reverse

from hypervisor.console.links import PAGES as CONSOLE
from hypervisor.portal.links import PAGES as PORTAL

LINK = '{% load links %}{% link "deployments" label=label %}<b>{{ label }}</b>{% endlink %}'


def test_a_link_leads_to_the_page_of_the_present_door() -> None:
    context = Context({"pages": PORTAL, "label": "a=<b&c>"})

    assert Template(LINK).render(context) == (
        '<a href="/?label=a%3D%3Cb%26c%3E"><b>a=&lt;b&amp;c&gt;</b></a>'
    )


def test_what_has_no_page_in_a_door_is_plain_text() -> None:
    context = Context({"pages": {}, "label": "<x>"})

    assert Template(LINK).render(context) == "<b>&lt;x&gt;</b>"


@pytest.mark.parametrize("pages", [CONSOLE, PORTAL])
def test_each_page_exists(pages: dict[str, str]) -> None:
    for kind, name in pages.items():
        lists = ("deployments", "queue", "runs")
        assert reverse(name, args=[] if kind in lists else [7])
