"""The admin pages of other packages' tables, in the console's look."""

from typing import Any

from axes.admin import AccessAttemptAdmin as BaseAccessAttemptAdmin
from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as BaseGroupAdmin
from django.contrib.auth.models import Group
from django.contrib.postgres.aggregates import StringAgg
from django.db.models import QuerySet
from django.http import HttpRequest
from django_celery_beat import admin as beat
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    SolarSchedule,
)
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from hypervisor.console.bases import Audited, ManyAsCheckboxes, OnlyNamed

_OTHER_PACKAGES = [
    AccessAttempt, AccessFailureLog, AccessLog, BlacklistedToken, ClockedSchedule, CrontabSchedule,
    Group, IntervalSchedule, OutstandingToken, PeriodicTask, SolarSchedule,
]  # fmt: skip
admin.site.unregister(_OTHER_PACKAGES)


class GuardedActions:
    """Offer the packages' actions, which check no permission, only to users who may write rows."""

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        page: Any = self
        may = page.has_change_permission(request) or page.has_delete_permission(request)
        return super().get_actions(request) if may else {}  # type: ignore[misc]


@admin.register(Group)
class GroupAdmin(OnlyNamed, ManyAsCheckboxes, BaseGroupAdmin, ModelAdmin):  # type: ignore[misc]
    pass


@admin.register(AccessAttempt)
class AccessAttemptAdmin(GuardedActions, BaseAccessAttemptAdmin, ModelAdmin):  # type: ignore[misc]
    """Failed log-ins; deleting a row ends its lock-out."""

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class TaskSelectWidget(UnfoldAdminSelectWidget, beat.TaskSelectWidget):  # type: ignore[misc]
    pass


class PeriodicTaskForm(beat.PeriodicTaskForm):  # type: ignore[misc]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["task"].widget = UnfoldAdminTextInputWidget()
        self.fields["regtask"].widget = TaskSelectWidget()


@admin.register(PeriodicTask)
class PeriodicTaskAdmin(GuardedActions, Audited, beat.PeriodicTaskAdmin, ModelAdmin):  # type: ignore[misc]
    form = PeriodicTaskForm
    list_display = ["name", "enabled", "scheduler", "last_run_at"]
    # The package's template has an inline script, which the CSP forbids.
    change_form_template = None


@admin.register(IntervalSchedule)
class IntervalScheduleAdmin(Audited, beat.IntervalScheduleAdmin, ModelAdmin):  # type: ignore[misc]
    """Each job of the product has an interval of its own."""

    list_display = ["in_words", "jobs"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[IntervalSchedule]:
        names = StringAgg("periodictask__name", ", ", order_by="periodictask__name")
        rows: QuerySet[IntervalSchedule] = super().get_queryset(request)
        listed: QuerySet[IntervalSchedule] = rows.annotate(jobs=names).order_by("jobs", "pk")
        return listed

    @admin.display(description="Interval")
    def in_words(self, interval: IntervalSchedule) -> str:
        return str(interval).capitalize()

    @admin.display(description="Periodic tasks", ordering="jobs")
    def jobs(self, interval: Any) -> str:
        return interval.jobs or "none"


@admin.register(CrontabSchedule)
class CrontabScheduleAdmin(Audited, beat.CrontabScheduleAdmin, ModelAdmin):  # type: ignore[misc]
    pass
