"""Delete entries of the audit trail that are older than AUDIT_HISTORY_DAYS."""

from datetime import datetime, timedelta

import pgtrigger
from django.conf import settings

from accounts.models import AuditEntry
from hypervisor.base.purging import purge


def purge_entries(now: datetime) -> int:
    """Delete the entries before the limit, if there is one; return their number."""
    if not settings.AUDIT_HISTORY_DAYS:
        return 0
    limit = now - timedelta(days=settings.AUDIT_HISTORY_DAYS)
    with pgtrigger.ignore("accounts.AuditEntry:append_only"):
        return purge(AuditEntry.objects.all(), "time", limit)
