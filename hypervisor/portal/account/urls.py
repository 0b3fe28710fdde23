"""The paths under `/account/`."""

from django.urls import path

from accounts.throttles import limit_log_ins, limit_mails, limit_registrations
from hypervisor.portal.account import addresses, closing, overview, passwords, provider, sign_in

app_name = "account"

urlpatterns = [
    path("", overview.Overview.as_view(), name="overview"),
    path("sign-in/", limit_log_ins(sign_in.SignIn.as_view()), name="sign_in"),
    path("sign-out/", sign_in.SignOut.as_view(), name="sign_out"),
    path("register/", limit_registrations(sign_in.Register.as_view()), name="register"),
    path("password/", passwords.ChangePassword.as_view(), name="password"),
    path("forgotten/", limit_mails(passwords.Forgotten.as_view()), name="forgotten"),
    path("reset/<uidb64>/<token>/", passwords.Reset.as_view(), name="reset"),
    path("email/", limit_mails(addresses.ChangeAddress.as_view()), name="email"),
    path("email/again/", limit_mails(addresses.SendAgain.as_view()), name="email_again"),
    path("verify/<path:link>/", addresses.Verify.as_view(), name="verify"),
    path("delete/", closing.DeleteAccount.as_view(), name="delete"),
    path("provider/", limit_log_ins(provider.Begin.as_view(), "GET"), name="provider"),
    path("provider/callback/", provider.Callback.as_view(), name="provider_callback"),
    path("sessions/", overview.Sessions.as_view(), name="sessions"),
]
