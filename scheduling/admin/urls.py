"""The operators' pages that belong to no table of their own; under `/admin/`."""

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.http import HttpResponseBase
from django.urls import path

from accounts.console import ConsolePage
from scheduling.admin.cluster import ClusterPage
from scheduling.admin.logs import LogsPage
from scheduling.admin.queue import QueuePage
from scheduling.admin.steer import SteerPage
from scheduling.models import SchedulingCycle


def _view(page: type[ConsolePage], **arguments: Any) -> Callable[..., HttpResponseBase]:
    """Return the page as the admin serves its own: for staff who have logged in."""
    registered = admin.site._registry[SchedulingCycle]
    return admin.site.admin_view(page.as_view(model_admin=registered, **arguments))


urlpatterns = [
    path("queue/", _view(QueuePage), name="queue"),
    path("cluster/<int:pk>/", _view(ClusterPage), name="cluster"),
    path("deployment/<int:pk>/logs/", _view(LogsPage), name="logs"),
    path("steer/<slug:action>/", _view(SteerPage), name="steer"),
]
