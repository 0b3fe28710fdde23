"""The operators' pages outside the admin's tables, under `/admin/`."""

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.http import HttpResponseBase
from django.urls import path

from hypervisor.console.bases import ConsolePage
from hypervisor.console.pages.cluster import ClusterPage
from hypervisor.console.pages.logs import LogsPage
from hypervisor.console.pages.many import ManyPage
from hypervisor.console.pages.preview import PreviewPage
from hypervisor.console.pages.queue import QueuePage
from hypervisor.console.pages.search import SearchPage
from scheduling.models import SchedulingCycle

# A worker never gets here: the pages take a quarter of a second, and memory, to load.
admin.autodiscover()


def _view(page: type[ConsolePage], **arguments: Any) -> Callable[..., HttpResponseBase]:
    """Return the page as a view of the admin, for staff who have logged in."""
    registered = admin.site._registry[SchedulingCycle]
    return admin.site.admin_view(page.as_view(model_admin=registered, **arguments))


urlpatterns = [
    path("queue/", _view(QueuePage), name="queue"),
    path("cluster/<int:pk>/", _view(ClusterPage), name="cluster"),
    path("deployment/<int:pk>/logs/", _view(LogsPage), name="logs"),
    path("search/", _view(SearchPage), name="search"),
    path("preview/<slug:action>/", _view(PreviewPage), name="preview"),
    path("many/<slug:action>/", _view(ManyPage), name="many"),
]
