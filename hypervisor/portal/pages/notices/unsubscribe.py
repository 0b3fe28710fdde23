"""The page behind the link in each mail, for which nobody has to sign in."""

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from django.views.decorators.csrf import csrf_exempt
from django.views.generic import TemplateView

from deployments.notices import mail, services
from hypervisor.ui.live import layout


# The signed link is the right to do this: mail programs follow it without cookies (RFC 8058).
@method_decorator(csrf_exempt, name="dispatch")
class UnsubscribePage(TemplateView):
    """Asks first, because programs that check links in mails open them."""

    template_name = "portal/notices/unsubscribe.html"

    def post(self, request: HttpRequest, token: str) -> HttpResponse:
        services.unsubscribe(self._user())
        return self.render_to_response(self.get_context_data(done=True))

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        self._user()
        return super().get_context_data(
            layout=layout(self.request, "portal/page.html"), title="No more mails", **kwargs
        )

    def _user(self) -> int:
        """Return the id of the user whom the link is for. Raises Http404 if it is for nobody."""
        user = mail.user_of(self.kwargs["token"])
        if user is None:
            raise Http404
        return user
