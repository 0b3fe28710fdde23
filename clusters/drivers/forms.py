"""The base of the forms with which operators connect a cluster."""

from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminTextareaWidget

from clusters.connections import Route
from clusters.models import Connection


class ConnectForm(forms.Form):
    """The form for one kind of engine, with the fields that its connection needs."""

    @classmethod
    def known(cls, connection: Connection) -> dict[str, str]:
        """Return the form's initial values from a connection of this kind, without credentials."""
        return {
            "endpoint": connection.endpoint,
            "namespace": connection.namespace,
            "network": connection.network,
            "devices": "\n".join(connection.devices),
            "node_labels": "\n".join(connection.node_labels),
            "tolerations": "\n".join(connection.tolerations),
            "node_selector": "\n".join(connection.node_selector),
        }

    def route(self, driver: str) -> Route:
        """Return the route that the valid form describes, to an engine of the kind `driver`."""
        raise NotImplementedError

    def credentials(self, *names: str) -> dict[str, str]:
        """Return the fields of these names that are not empty."""
        return {name: self.cleaned_data[name] for name in names if self.cleaned_data[name]}


class SecretWidget(UnfoldAdminTextareaWidget):  # type: ignore[misc]
    """A text field whose value is never rendered, not even in a form with errors."""

    def __init__(self) -> None:
        super().__init__({"rows": 3, "autocomplete": "off", "spellcheck": "false"})

    def format_value(self, value: Any) -> None:
        return None


def secret(label: str, *, help_text: str = "") -> forms.CharField:
    return forms.CharField(label=label, required=False, widget=SecretWidget, help_text=help_text)
