"""The operators' page that connects a cluster to an engine: probe first, then save.

Between the two steps the page carries the operator's input, credentials included, encrypted: it is
never shown again, and no other operator can submit it.
"""

import json
from dataclasses import asdict
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone

from clusters import connections
from clusters.connections import Route
from clusters.drivers.forms import ConnectForm
from clusters.drivers.kinds import connectable
from clusters.models import Cluster, Connection
from clusters.secrets import CannotDecrypt, decrypt, encrypt
from hypervisor.base.errors import DomainError
from hypervisor.console.bases import ConsolePage

_VALID_S = 15 * 60


class ConnectPage(ConsolePage):
    permission_required = "clusters.connect_cluster"
    template_name = "console/connect.html"
    refresh_s = None
    cluster: Cluster

    def setup(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().setup(request, *args, **kwargs)
        clusters = Cluster.objects.select_related("organization")
        self.cluster = get_object_or_404(clusters, pk=kwargs["pk"])
        self.title = f"Engine of cluster {self.cluster.name}"
        self.breadcrumbs = (
            ("Clusters", reverse("admin:clusters_cluster_changelist")),
            (self.cluster.name, reverse("admin:clusters_cluster_change", args=[self.cluster.pk])),
            ("Engine", None),
        )

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        engine = self._engine()
        connection = Connection.objects.filter(cluster=self.cluster).first()
        return super().get_context_data(
            **{
                "cluster": self.cluster,
                "connection": connection,
                "engine": engine,
                "engines": {name: kind.title for name, kind in connectable().items()},
                "form": self._form_class()(initial=self._known(connection)),
                **kwargs,
            }
        )

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        steps = {"look": self._look, "connect": self._connect, "disconnect": self._disconnect}
        step = steps.get(request.POST.get("step", ""), self._look)
        try:
            return step(request)
        except DomainError as error:
            messages.error(request, error.detail)
            return HttpResponseRedirect(f"{request.path}?engine={self._engine()}")

    def _look(self, request: HttpRequest) -> HttpResponse:
        form = self._form_class()(request.POST)
        if not form.is_valid():
            return self.render_to_response(self.get_context_data(form=form))
        route = form.route(self._engine())
        try:
            found = connections.probe(self.cluster, route)
        except DomainError as error:
            form.add_error(None, error.detail)
            return self.render_to_response(self.get_context_data(form=form))
        return self.render_to_response(
            self.get_context_data(found=found, route=route, sealed=self._seal(route))
        )

    def _connect(self, request: HttpRequest) -> HttpResponse:
        route = self._unseal(request.POST.get("sealed", ""))
        if route is None:
            messages.error(request, "The form has expired: fill it in again.")
            return HttpResponseRedirect(f"{request.path}?engine={self._engine()}")
        connections.connect(self.cluster, actor=request.user.get_username(), route=route)
        messages.success(request, f"Cluster {self.cluster.name} is connected.")
        return HttpResponseRedirect(request.path)

    def _disconnect(self, request: HttpRequest) -> HttpResponse:
        connections.disconnect(
            self.cluster,
            actor=request.user.get_username(),
            engine_is_gone="engine_is_gone" in request.POST,
        )
        messages.success(request, f"Cluster {self.cluster.name} is disconnected, and cordoned.")
        return HttpResponseRedirect(request.path)

    def _engine(self) -> str:
        """Return the requested kind, or else the cluster's present kind, or else the first."""
        asked = self.request.POST.get("engine") or self.request.GET.get("engine")
        kinds = connectable()
        return next(name for name in (asked, self.cluster.driver, *kinds) if name in kinds)

    def _form_class(self) -> type[ConnectForm]:
        return connectable()[self._engine()].form_class()

    def _known(self, connection: Connection | None) -> dict[str, str] | None:
        """Return the form's initial values, or None if the present engine is of another kind."""
        if connection is None or self.cluster.driver != self._engine():
            return None
        return self._form_class().known(connection)

    def _seal(self, route: Route) -> str:
        """Encrypt the route for this cluster and operator, valid for 15 minutes."""
        sealed = {"for": self._for(), "at": timezone.now().timestamp(), "route": asdict(route)}
        return encrypt(json.dumps(sealed)).decode()

    def _unseal(self, text: str) -> Route | None:
        try:
            sealed = json.loads(decrypt(text))
        except CannotDecrypt:
            return None
        fresh = timezone.now().timestamp() - sealed["at"] < _VALID_S
        if sealed["for"] != self._for() or not fresh:
            return None
        lists = ("devices", "node_labels", "tolerations", "node_selector")
        return Route(**sealed["route"] | {name: tuple(sealed["route"][name]) for name in lists})

    def _for(self) -> list[int | None]:
        return [self.cluster.pk, self.request.user.pk]
