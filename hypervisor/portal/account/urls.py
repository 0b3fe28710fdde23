"""The paths under `/account/`."""

from django.urls import path

from accounts.throttles import limit_log_ins, limit_registrations
from hypervisor.portal.account import overview, sign_in

app_name = "account"

urlpatterns = [
    path("", overview.Overview.as_view(), name="overview"),
    path("sign-in/", limit_log_ins(sign_in.SignIn.as_view()), name="sign_in"),
    path("sign-out/", sign_in.SignOut.as_view(), name="sign_out"),
    path("register/", limit_registrations(sign_in.Register.as_view()), name="register"),
    path("sessions/", overview.Sessions.as_view(), name="sessions"),
]
