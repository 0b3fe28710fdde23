"""The operators' page that connects a cluster or its nodes to engines: probe first, then save.

Between the two steps the page carries the operator's input, credentials included, encrypted: it is
never shown again, and no other operator can submit it.
"""

import json
from dataclasses import asdict
from functools import cached_property
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode

from clusters import connections
from clusters.connections import Route
from clusters.drivers.forms import ConnectForm
from clusters.drivers.kinds import connectable
from clusters.models import Cluster, Connection
from hypervisor.base.errors import DomainError
from hypervisor.base.secrets import CannotDecrypt, decrypt, encrypt
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
        self.title = f"Engine of {self.cluster.name}"
        self.breadcrumbs = (
            ("Clusters", reverse("admin:clusters_cluster_changelist")),
            (self.cluster.name, reverse("cluster", args=[self.cluster.pk])),
            ("Engine", None),
        )

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        engine, node = self._engine(), self._node()
        rows = Connection.objects.filter(cluster=self.cluster).select_related("node")
        return super().get_context_data(
            **{
                "cluster": self.cluster,
                "connections": list(rows),
                "engine": engine,
                "engines": {name: kind.title for name, kind in connectable().items()},
                "several": len(self._nodes) > 1,
                "node": node,
                "nodes": self._nodes if node else {},
                "claimed": self.cluster.nodes.filter(name=node).first() or self.cluster,
                "known": connections.present(self.cluster, engine, node=node),
                "form": self._form_class()(initial=self._known()),
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
            return HttpResponseRedirect(self._here())

    def _look(self, request: HttpRequest) -> HttpResponse:
        form = self._form_class()(request.POST)
        if not form.is_valid():
            return self.render_to_response(self.get_context_data(form=form))
        route = form.route(self._engine())
        try:
            found = connections.probe(self.cluster, route, node=self._node())
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
            return HttpResponseRedirect(self._here())
        node, actor = self._node(), request.user.get_username()
        connections.connect(self.cluster, actor=actor, route=route, node=node)
        where = f"Node {node} of cluster" if node else "Cluster"
        messages.success(request, f"{where} {self.cluster.name} is connected.")
        return HttpResponseRedirect(request.path)

    def _disconnect(self, request: HttpRequest) -> HttpResponse:
        node = request.POST.get("node") or None
        connections.disconnect(
            self.cluster,
            actor=request.user.get_username(),
            node=node,
            engine_is_gone="engine_is_gone" in request.POST,
        )
        where = f"Node {node} of cluster" if node else "Cluster"
        messages.success(request, f"{where} {self.cluster.name} is disconnected, and cordoned.")
        return HttpResponseRedirect(request.path)

    def _engine(self) -> str:
        """Return the requested kind, or else the cluster's present kind, or else the first."""
        asked = self.request.POST.get("engine") or self.request.GET.get("engine")
        kinds = connectable()
        return next(name for name in (asked, self.cluster.driver, *kinds) if name in kinds)

    @cached_property
    def _nodes(self) -> dict[str, bool]:
        """The names of the cluster's nodes, and whether each is connected to an engine."""
        rows = self.cluster.nodes.values_list("name", "connection")
        return {name: connection is not None for name, connection in rows}

    def _node(self) -> str | None:
        """Return the node that the form is about, None if it is about the cluster as a whole.

        If none is requested, it is the first one without an engine.
        """
        if len(self._nodes) == 1 or not connectable()[self._engine()].has_engine_per_node:
            return None
        asked = self.request.POST.get("node") or self.request.GET.get("node")
        without = [name for name, is_connected in self._nodes.items() if not is_connected]
        return asked or next(iter([*without, *self._nodes]))

    def _here(self) -> str:
        """Return the address of the form that was submitted."""
        query = {"engine": self._engine(), **({"node": node} if (node := self._node()) else {})}
        return f"{self.request.path}?{urlencode(query)}"

    def _form_class(self) -> type[ConnectForm]:
        return connectable()[self._engine()].form_class()

    def _known(self) -> dict[str, str] | None:
        """Return the form's initial values, None without a present engine of this kind."""
        present = connections.present(self.cluster, self._engine(), node=self._node())
        return self._form_class().known(present) if present else None

    def _seal(self, route: Route) -> str:
        """Encrypt the route for this cluster, node and operator, valid for 15 minutes."""
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

    def _for(self) -> list[int | str | None]:
        return [self.cluster.pk, self.request.user.pk, self._node()]
