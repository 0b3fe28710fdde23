"""All routes of the REST API."""

from django.urls import path, re_path
from rest_framework.routers import SimpleRouter

from accounts.views import RefreshView, RevokeView, TokenView
from clusters.node_views import NodeViewSet
from clusters.views import ClusterViewSet
from deployments.arrays.views import ArrayViewSet
from deployments.notices.views import NoticeMessageViewSet, NoticeRuleViewSet
from deployments.registries.views import RegistryViewSet
from deployments.usage.views import UsageView
from orgs import dry_runs
from orgs.feed.views import EventStreamView, EventsView
from orgs.service_accounts.views import ServiceAccountViewSet
from orgs.tokens.views import TokenViewSet
from orgs.views import JoinView, MeView, OrganizationViewSet, RegisterView
from orgs.webhooks.views import DeliveryViewSet, WebhookViewSet
from scheduling.trials import try_out
from scheduling.views import DeploymentViewSet

dry_runs.register(try_out)

router = SimpleRouter(trailing_slash=False)
router.register("organizations", OrganizationViewSet)
router.register(
    "organizations/(?P<organization_id>[0-9]{1,18})/service-accounts", ServiceAccountViewSet
)
router.register("clusters", ClusterViewSet)
router.register("clusters/(?P<cluster_id>[0-9]{1,18})/nodes", NodeViewSet)
router.register("deployments", DeploymentViewSet)
router.register("arrays", ArrayViewSet)
router.register("registries", RegistryViewSet)
router.register("notices/sent", NoticeMessageViewSet)
router.register("notices", NoticeRuleViewSet)
router.register("tokens", TokenViewSet)
router.register("webhooks", WebhookViewSet)
router.register("webhooks/(?P<webhook_id>[0-9]{1,18})/deliveries", DeliveryViewSet)

urlpatterns = [
    path("register", RegisterView.as_view()),
    path("token", TokenView.as_view()),
    path("token/refresh", RefreshView.as_view()),
    path("token/revoke", RevokeView.as_view()),
    path("me", MeView.as_view()),
    path("join-organization", JoinView.as_view()),
    re_path("^organizations/(?P<organization_id>[0-9]{1,18})/usage$", UsageView.as_view()),
    path("events", EventsView.as_view()),
    path("events/stream", EventStreamView.as_view()),
    *router.urls,
]
