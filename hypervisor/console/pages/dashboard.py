"""The first page of the admin."""

from typing import Any

from django.http import HttpRequest

from hypervisor.base.numbers import whole
from hypervisor.console.bases import LAYOUT
from hypervisor.console.dashboard import SPANS, read
from hypervisor.ui.live import layout

_REFRESH_S = 5


def context(request: HttpRequest, given: dict[str, Any]) -> dict[str, Any]:
    """Add the dashboard's context; a user without its permission gets the list of tables."""
    if not request.user.has_perm("scheduling.view_sample"):
        return given | {"layout": layout(request, LAYOUT)}
    asked = request.GET.get("span", "")
    cluster = whole(request.GET.get("cluster", ""))
    board = read(asked if asked in SPANS else "6h", cluster)
    return given | {
        "layout": layout(request, LAYOUT),
        "refresh_s": _REFRESH_S,
        "board": board,
        "spans": list(SPANS),
    }
