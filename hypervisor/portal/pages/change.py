"""The page that changes the specification of a deployment."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from deployments import services
from deployments.specs import check_changeable
from hypervisor.base.errors import DomainError
from hypervisor.portal.changing import ChangeForm
from hypervisor.portal.pages.deployment import OfDeployment
from hypervisor.portal.rights import check


class ChangePage(OfDeployment):
    template_name = "portal/change.html"

    def prepare(self) -> None:
        """Read the deployment. Raises Forbidden if the person may not change it, and Conflict if it
        has ended.
        """
        super().prepare()
        check("update", self.deployment, self.person)
        check_changeable(self.deployment, set())
        self.title = f"Change {self.deployment.name}"

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return self._page(ChangeForm(self.person, self.deployment))

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        form = ChangeForm(self.person, self.deployment, request.POST)
        try:
            spec = form.spec()
            if spec is None:
                return self._page(form)
            services.update(self.deployment, actor=self.person.username, spec=spec)
        except DomainError as error:
            form.refuse(error)
            return self._page(form)
        messages.success(request, f"{spec.name}: changed.")
        return HttpResponseRedirect(self.address)

    def _page(self, form: ChangeForm) -> HttpResponse:
        self.breadcrumbs = self.path_to("Change")
        return self.render_to_response(self.get_context_data(form=form, back=self.address))
