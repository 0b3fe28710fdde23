"""All paths of the service; those of the REST API are in `api`."""

from django.contrib import admin
from django.templatetags.static import static
from django.urls import include, path
from django.views.generic import RedirectView

from hypervisor import docs, health
from hypervisor.mcp.views import McpView
from hypervisor.metrics.views import MetricsView

handler400 = "hypervisor.errors.bad_request"
handler403 = "hypervisor.errors.forbidden"
handler404 = "hypervisor.errors.not_found"
handler500 = "hypervisor.errors.server_error"

urlpatterns = [
    # First, because Django tries all routes before: for a submission, a tenth of its time.
    path("", include("hypervisor.api")),
    path("", include("hypervisor.portal.urls")),
    path("favicon.ico", RedirectView.as_view(url=static("hypervisor/icon.svg"))),
    path("account/", include("hypervisor.portal.account.urls")),
    path("admin/", include("hypervisor.portal.account.admin_urls")),
    path("admin/", include("hypervisor.console.urls")),
    path("admin/", admin.site.urls),
    path("llms.txt", docs.llms),
    path("docs/<path:name>", docs.page),
    path("docs", docs.DocsView.as_view(), name="docs"),
    path("openapi.json", docs.SchemaView.as_view(), name="openapi"),
    path("mcp", McpView.as_view(), name="mcp"),
    path("metrics", MetricsView.as_view(), name="metrics"),
    path("healthz", health.LiveView.as_view(), name="healthz"),
    path("readyz", health.ReadyView.as_view(), name="readyz"),
]
