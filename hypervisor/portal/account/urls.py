"""The paths under `/account/`."""

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from accounts.throttles import limit_log_ins

app_name = "account"

urlpatterns = [
    path(
        "sign-in/",
        limit_log_ins(
            LoginView.as_view(
                template_name="portal/account/sign_in.html",
                redirect_authenticated_user=True,
                extra_context={"title": "Sign in"},
            )
        ),
        name="sign_in",
    ),
    path("sign-out/", LogoutView.as_view(next_page="account:sign_in"), name="sign_out"),
]
