from django import forms
from unfold.widgets import UnfoldAdminTextInputWidget

from clusters.connections import Route
from clusters.drivers.forms import ConnectForm
from clusters.models import Connection
from tests.support.simulated_slow.driver import endpoint, seconds


class SlowForm(ConnectForm):
    seconds = forms.IntegerField(
        label="Seconds to pull an image", min_value=0, widget=UnfoldAdminTextInputWidget
    )

    @classmethod
    def known(cls, connection: Connection) -> dict[str, str]:
        return {"seconds": str(seconds(connection.endpoint))}

    def route(self, driver: str) -> Route:
        return Route(driver=driver, endpoint=endpoint(self.cleaned_data["seconds"]))
