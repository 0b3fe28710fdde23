"""The operators' page that connects a cluster to an engine: first look, then save.

Between the two steps the page holds what was typed, credentials included, encrypted: it is never
shown again, and nobody else can send it.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, ClassVar

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from unfold.widgets import (
    UnfoldAdminRadioSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from clusters import connections
from clusters.connections import Route
from clusters.models import Cluster, Connection
from clusters.secrets import CannotDecrypt, decrypt, encrypt
from hypervisor.base.errors import DomainError
from hypervisor.console.bases import ConsolePage

_VALID_S = 15 * 60


class SecretWidget(UnfoldAdminTextareaWidget):  # type: ignore[misc]
    """A text that goes in and does not come out again, not even beside an error."""

    def __init__(self) -> None:
        super().__init__({"rows": 3, "autocomplete": "off", "spellcheck": "false"})

    def format_value(self, value: Any) -> None:
        return None


def _secret(label: str, *, required: bool = False, help_text: str = "") -> forms.CharField:
    return forms.CharField(label=label, required=required, widget=SecretWidget, help_text=help_text)


class DockerForm(forms.Form):
    title: ClassVar = "Docker Engine"
    endpoint = forms.CharField(
        widget=UnfoldAdminTextInputWidget,
        help_text="unix:///var/run/docker.sock where the worker runs, or tcp://host:2376.",
    )
    network = forms.ChoiceField(
        label="Network of each container",
        choices=Connection.Network.choices,
        initial=Connection.Network.ISOLATED,
        widget=UnfoldAdminRadioSelectWidget,
    )
    devices = forms.CharField(
        label="GPUs",
        required=False,
        widget=UnfoldAdminTextareaWidget({"rows": 3}),
        help_text="The ids or UUIDs, as `nvidia-smi -L` says, one a line.",
    )
    ca = _secret("Certificate authority", help_text="PEM; needed for tcp, as are the next two.")
    cert = _secret("Client's certificate")
    key = _secret("Client's key")

    def route(self) -> Route:
        data = self.cleaned_data
        return Route(
            driver=Cluster.Driver.DOCKER,
            endpoint=data["endpoint"],
            network=data["network"],
            devices=tuple(data["devices"].split()),
            credentials={name: data[name] for name in ("ca", "cert", "key") if data[name]},
        )


class KubernetesForm(forms.Form):
    title: ClassVar = "Kubernetes"
    namespace = forms.CharField(max_length=63, widget=UnfoldAdminTextInputWidget)
    kubeconfig = _secret(
        "Kubeconfig", help_text="Its current context counts. Or leave it empty, and give the next."
    )
    endpoint = forms.CharField(
        label="API server",
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text="https://host:6443",
    )
    token = _secret("Service account's token")
    ca = _secret("Certificate authority", help_text="PEM, of the API server.")

    def clean(self) -> None:
        super().clean()
        if not self.cleaned_data.get("kubeconfig") and not self.cleaned_data.get("token"):
            self.add_error("token", "Give the service account's token, or a kubeconfig.")

    def route(self) -> Route:
        data = self.cleaned_data
        return Route(
            driver=Cluster.Driver.KUBERNETES,
            endpoint=data["endpoint"],
            namespace=data["namespace"],
            credentials={name: data[name] for name in ("kubeconfig", "token", "ca") if data[name]},
        )


FORMS: Mapping[str, type[DockerForm] | type[KubernetesForm]] = {
    Cluster.Driver.DOCKER: DockerForm,
    Cluster.Driver.KUBERNETES: KubernetesForm,
}


def _known(connection: Connection | None) -> dict[str, str] | None:
    """Return what the form begins with: all that is known, but for the credentials."""
    if connection is None:
        return None
    return {
        "endpoint": connection.endpoint,
        "namespace": connection.namespace,
        "network": connection.network,
        "devices": "\n".join(connection.devices),
    }


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
                "engines": {name: form.title for name, form in FORMS.items()},
                "form": FORMS[engine](initial=_known(connection)),
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
        form = FORMS[self._engine()](request.POST)
        if not form.is_valid():
            return self.render_to_response(self.get_context_data(form=form))
        route = form.route()
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
            messages.error(request, "That was too long ago: fill in the form again.")
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
        asked = self.request.POST.get("engine") or self.request.GET.get("engine")
        return str(asked if asked in FORMS else Cluster.Driver.DOCKER)

    def _seal(self, route: Route) -> str:
        """Return the route for this cluster, this person and this quarter of an hour."""
        held = {"for": self._for(), "at": timezone.now().timestamp(), "route": asdict(route)}
        return encrypt(json.dumps(held)).decode()

    def _unseal(self, text: str) -> Route | None:
        try:
            held = json.loads(decrypt(text))
        except CannotDecrypt:
            return None
        fresh = timezone.now().timestamp() - held["at"] < _VALID_S
        if held["for"] != self._for() or not fresh:
            return None
        return Route(**held["route"] | {"devices": tuple(held["route"]["devices"])})

    def _for(self) -> list[int | None]:
        return [self.cluster.pk, self.request.user.pk]
