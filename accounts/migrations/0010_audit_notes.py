from importlib import import_module

from django.db import migrations, models

_FORMER = import_module("accounts.migrations.0002_audit")._NOTE_CHANGE

# As before, and with the note of the context. The former release does not notice.
_NOTE_CHANGE = _FORMER.replace(
    "before, after, via, request_id\n", "before, after, via, request_id, note\n"
).replace(
    "coalesce(context ->> 'request_id', '')\n",
    "coalesce(context ->> 'request_id', ''), coalesce(context ->> 'note', '')\n",
)


class Migration(migrations.Migration):
    dependencies = [("accounts", "0009_provider_identities")]

    operations = [
        migrations.AddField(
            model_name="auditentry",
            name="note",
            field=models.TextField(blank=True, db_default="", default=""),
        ),
        migrations.RunSQL(_NOTE_CHANGE, _FORMER),
    ]
