from django import forms
from unfold.widgets import (
    UnfoldAdminRadioSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from clusters.connections import Route
from clusters.drivers.forms import ConnectForm, secret
from clusters.models import Connection


class DockerForm(ConnectForm):
    endpoint = forms.CharField(
        widget=UnfoldAdminTextInputWidget,
        help_text="unix:///var/run/docker.sock on the worker's machine, or tcp://host:2376.",
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
        help_text="Their ids or UUIDs as `nvidia-smi -L` prints them, one per line.",
    )
    ca = secret("Certificate authority", help_text="PEM. This and the next two are needed for tcp.")
    cert = secret("Client certificate")
    key = secret("Client key")

    def route(self, driver: str) -> Route:
        data = self.cleaned_data
        return Route(
            driver=driver,
            endpoint=data["endpoint"],
            network=data["network"],
            devices=tuple(data["devices"].split()),
            credentials=self.credentials("ca", "cert", "key"),
        )
