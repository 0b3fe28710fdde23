"""Which part of a page the browser gets: all of it, or what is refreshed."""

from django.http import HttpRequest


def layout(request: HttpRequest, whole: str) -> str:
    """Return the template that a page extends: `whole`, or one with only its block `live`."""
    live = request.headers.get("X-Fragment") == "live"
    return "ui/fragment.html" if live else whole
