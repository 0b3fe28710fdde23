from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from clusters.drivers.forms import SecretWidget
from deployments.images import registry_host
from deployments.models import Registry
from deployments.registries import services
from deployments.registries.checks import MAX_PASSWORD, checked_password, checked_username
from hypervisor.console.bases import ServiceAdmin


class RegistryForm(forms.ModelForm):  # type: ignore[type-arg]
    """A log-in to a registry. Its password is never rendered; left empty, it stays."""

    password = forms.CharField(
        widget=SecretWidget, max_length=MAX_PASSWORD, strip=False, required=False,
        help_text="A password or a token. It is stored encrypted and never shown again. Empty: the"
        " stored one stays.",
    )  # fmt: skip

    class Meta:
        model = Registry
        fields = ["organization", "host", "username"]

    def clean_host(self) -> str:
        return _or_refused(registry_host, self.cleaned_data["host"])

    def clean_username(self) -> str:
        return _or_refused(checked_username, self.cleaned_data["username"])

    def clean_password(self) -> str | None:
        # A token that was copied from a file often ends with its line.
        text = self.cleaned_data["password"].strip("\r\n")
        if not text and self.instance.pk:
            return None
        return _or_refused(checked_password, text)


@admin.register(Registry)
class RegistryAdmin(ServiceAdmin):
    form = RegistryForm
    list_display = ["host", "organization", "username", "updated_at"]
    list_filter = ["organization"]
    list_select_related = ["organization"]
    search_fields = ["host", "organization__name"]
    autocomplete_fields = ["organization"]
    fields = ["organization", "host", "username", "password"]

    def get_fields(self, request: HttpRequest, obj: Registry | None = None) -> list[str]:
        may_write = self.has_change_permission(request) or self.has_add_permission(request)
        return [name for name in self.fields if name != "password" or may_write]

    def get_readonly_fields(self, request: HttpRequest, obj: Registry | None = None) -> list[str]:
        return ["organization", "host"] if obj else []

    def save_model(self, request: HttpRequest, obj: Registry, form: Any, change: bool) -> None:
        actor = request.user.get_username()
        password = form.cleaned_data["password"]
        if change:
            services.update(obj, actor=actor, username=obj.username, password=password)
            return
        obj.pk = services.add(
            actor=actor,
            organization=obj.organization,
            host=obj.host,
            username=obj.username,
            password=password,
        ).pk

    def delete_model(self, request: HttpRequest, obj: Registry) -> None:
        services.delete(obj, actor=request.user.get_username())

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Registry]) -> None:
        self.carry_out(request, queryset, services.delete, "deleted")


def _or_refused(check: Callable[[str], str], text: str) -> str:
    try:
        return check(text)
    except ValueError as error:
        raise forms.ValidationError(str(error)) from error
