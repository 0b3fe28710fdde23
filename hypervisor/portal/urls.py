"""The paths of the members' pages; those under `/account/` are in `account.urls`."""

from django.urls import path

from hypervisor.portal.pages.deployments import DeploymentsPage

app_name = "portal"

urlpatterns = [
    path("", DeploymentsPage.as_view(), name="deployments"),
]
