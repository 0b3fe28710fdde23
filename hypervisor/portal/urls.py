"""The paths of the members' pages; those under `/account/` are in `account.urls`."""

from django.urls import include, path

from hypervisor.portal.pages import start, tokens
from hypervisor.portal.pages.array import ArrayActionPage
from hypervisor.portal.pages.change import ChangePage
from hypervisor.portal.pages.clusters import changes, steering
from hypervisor.portal.pages.clusters.overview import ClusterPage
from hypervisor.portal.pages.deployment import DeploymentPage, LogFile, LogsPage
from hypervisor.portal.pages.deployments import DeploymentsPage
from hypervisor.portal.pages.notices import rules
from hypervisor.portal.pages.notices.overview import NoticesPage
from hypervisor.portal.pages.notices.unsubscribe import UnsubscribePage
from hypervisor.portal.pages.organizations import (
    invite,
    lists,
    members,
    overview,
    registries,
    settings,
    usage,
    webhooks,
)
from hypervisor.portal.pages.preview import PreviewPage
from hypervisor.portal.pages.queue import QueuePage
from hypervisor.portal.pages.submit import SubmitPage

app_name = "portal"

_of_one_organization = [
    path("", overview.OverviewPage.as_view(), name="organization"),
    path("usage/", usage.UsagePage.as_view(), name="usage"),
    path("members/", members.MembersPage.as_view(), name="members"),
    path("members/hand-over/", members.HandOverPage.as_view(), name="hand_over"),
    path("members/<int:user_id>/role/", members.ChangeRolePage.as_view(), name="change_role"),
    path("members/<int:user_id>/remove/", members.RemoveMemberPage.as_view(), name="remove_member"),
    path("members/invite/", invite.InvitePage.as_view(), name="invite"),
    path(
        "service-accounts/new/", members.NewServiceAccountPage.as_view(), name="new_service_account"
    ),
    path("settings/", settings.SettingsPage.as_view(), name="organization_settings"),
    path("rename/", settings.RenamePage.as_view(), name="rename"),
    path("delete/", settings.DeletePage.as_view(), name="delete_organization"),
    path("registries/new/", registries.NewRegistryPage.as_view(), name="new_registry"),
    path(
        "registries/<int:pk>/delete/",
        registries.DeleteRegistryPage.as_view(),
        name="delete_registry",
    ),
    path("webhooks/new/", webhooks.NewWebhookPage.as_view(), name="new_webhook"),
    path("webhooks/<int:pk>/", webhooks.WebhookPage.as_view(), name="webhook"),
    path("webhooks/<int:pk>/change/", webhooks.ChangeWebhookPage.as_view(), name="change_webhook"),
    path("webhooks/<int:pk>/rotate/", webhooks.RotateSecretPage.as_view(), name="rotate_secret"),
    path("webhooks/<int:pk>/delete/", webhooks.DeleteWebhookPage.as_view(), name="delete_webhook"),
]

urlpatterns = [
    path("", start.leads_on(DeploymentsPage.as_view()), name="deployments"),
    path("my/start/", start.StartPage.as_view(), name="start"),
    path("my/deployments/<int:pk>/", DeploymentPage.as_view(), name="deployment"),
    path("my/deployments/<int:pk>/logs/", LogsPage.as_view(), name="logs"),
    path("my/deployments/<int:pk>/logs/file/", LogFile.as_view(), name="log_file"),
    path("my/deployments/<int:pk>/change/", ChangePage.as_view(), name="change"),
    path("my/deployments/<int:pk>/<slug:action>/", PreviewPage.as_view(), name="preview"),
    path("my/arrays/<int:pk>/<slug:action>/", ArrayActionPage.as_view(), name="array"),
    path("my/queue/", QueuePage.as_view(), name="queue"),
    path("my/submit/", SubmitPage.as_view(), name="submit"),
    path("my/organizations/", lists.OrganizationsPage.as_view(), name="organizations"),
    path("my/organizations/new/", lists.NewOrganizationPage.as_view(), name="new_organization"),
    path("my/organizations/join/", lists.JoinPage.as_view(), name="join"),
    path("my/organizations/<int:organization_id>/", include(_of_one_organization)),
    path("my/clusters/new/", changes.NewClusterPage.as_view(), name="new_cluster"),
    path("my/clusters/<int:pk>/", ClusterPage.as_view(), name="cluster"),
    path(
        "my/clusters/<int:pk>/delete/", changes.DeleteClusterPage.as_view(), name="delete_cluster"
    ),
    path(
        "my/clusters/<int:pk>/rename/", changes.RenameClusterPage.as_view(), name="rename_cluster"
    ),
    path("my/nodes/<int:pk>/delete/", changes.DeleteNodePage.as_view(), name="delete_node"),
    path("my/clusters/<int:pk>/nodes/new/", changes.AddNodePage.as_view(), name="new_node"),
    path("my/clusters/<int:pk>/<slug:action>/", steering.SteerClusterPage.as_view(), name="steer"),
    path("my/nodes/<int:pk>/<slug:action>/", steering.SteerNodePage.as_view(), name="steer_node"),
    path("my/notices/", NoticesPage.as_view(), name="notices"),
    path("my/notices/new/", rules.NewRulePage.as_view(), name="new_notice_rule"),
    path("my/notices/<int:pk>/", rules.ChangeRulePage.as_view(), name="change_notice_rule"),
    path("my/notices/<int:pk>/delete/", rules.DeleteRulePage.as_view(), name="delete_notice_rule"),
    path(
        "my/notices/unsubscribe/<str:token>/", UnsubscribePage.as_view(), name="unsubscribe_notices"
    ),
    path("my/tokens/", tokens.TokensPage.as_view(), name="tokens"),
    path("my/tokens/new/", tokens.NewTokenPage.as_view(), name="new_token"),
    path("my/tokens/<int:pk>/revoke/", tokens.RevokeTokenPage.as_view(), name="revoke_token"),
]
