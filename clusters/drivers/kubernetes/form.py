from django import forms
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from clusters.connections import Route
from clusters.drivers.forms import ConnectForm, secret


class KubernetesForm(ConnectForm):
    namespace = forms.CharField(max_length=63, widget=UnfoldAdminTextInputWidget)
    node_selector = forms.CharField(
        label="Node selector",
        required=False,
        widget=UnfoldAdminTextareaWidget({"rows": 3}),
        help_text="Labels of the Nodes to use, one per line: KEY=VALUE. Without any, all Nodes are"
        " used. Clusters that use the same Kubernetes need one each, for different Nodes.",
    )
    node_labels = forms.CharField(
        label="Labels of Nodes",
        required=False,
        widget=UnfoldAdminTextareaWidget({"rows": 3}),
        help_text="Labels to take over besides the GPU's model and the zone, one per line: NAME, or"
        " NAME=OWN for another name here.",
    )
    tolerations = forms.CharField(
        label="Tolerated taints",
        required=False,
        widget=UnfoldAdminTextareaWidget({"rows": 3}),
        help_text="Taints in spite of which a Node is used, one per line: KEY[=VALUE][:EFFECT].",
    )
    kubeconfig = secret(
        "Kubeconfig",
        help_text="Its current context is used. If you leave it empty, fill in the next fields.",
    )
    endpoint = forms.CharField(
        label="API server",
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text="https://host:6443",
    )
    token = secret("Service account token")
    ca = secret("Certificate authority", help_text="PEM; the authority of the API server.")

    def clean(self) -> None:
        super().clean()
        if not self.cleaned_data.get("kubeconfig") and not self.cleaned_data.get("token"):
            self.add_error("token", "Give the service account's token, or a kubeconfig.")

    def route(self, driver: str) -> Route:
        data = self.cleaned_data
        return Route(
            driver=driver,
            endpoint=data["endpoint"],
            namespace=data["namespace"],
            node_selector=tuple(data["node_selector"].split()),
            node_labels=tuple(data["node_labels"].split()),
            tolerations=tuple(data["tolerations"].split()),
            credentials=self.credentials("kubeconfig", "token", "ca"),
        )
