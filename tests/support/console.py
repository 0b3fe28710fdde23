"""An operator's steps in the console."""

from django.contrib.messages import get_messages
from django.db.models import Model
from django.test import Client
from django.urls import reverse


def address(action: str, *subjects: Model, **options: object) -> str:
    query = "&".join(
        [*(f"id={row.pk}" for row in subjects), *(f"{k}={v}" for k, v in options.items())]
    )
    return f"{reverse('preview', args=[action])}?{query}"


def confirm(console: Client, action: str, *subjects: Model, **options: object) -> list[str]:
    """Open the preview and confirm it; return the messages."""
    page = address(action, *subjects, **options)
    shown = console.get(page).context["preview"].fingerprint
    answer = console.post(page, {"shown": shown, "note": options.get("note", "")})
    assert answer.status_code == 302
    return [str(message) for message in get_messages(answer.wsgi_request)]
