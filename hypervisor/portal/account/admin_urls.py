"""The paths of the admin that lead to the pages of the account."""

from django.urls import path
from django.views.generic import RedirectView

from hypervisor.portal.account import sign_in

urlpatterns = [
    path("login/", sign_in.OperatorSignIn.as_view()),
    path("logout/", sign_in.SignOut.as_view()),
    path("password_change/", RedirectView.as_view(pattern_name="account:password")),
]
