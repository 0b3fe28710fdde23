from django.db import migrations

# The trigger exists by now, so events that are inserted meanwhile get their numbers later.
NUMBERS = """
    INSERT INTO orgs_eventnumber (event_id, organization_id, number)
    SELECT id, organization_id, row_number() OVER (PARTITION BY organization_id ORDER BY id)
    FROM orgs_event e
    WHERE EXISTS (SELECT FROM orgs_organization o WHERE o.id = e.organization_id)
      AND NOT EXISTS (SELECT FROM orgs_unnumberedevent u WHERE u.event_id = e.id)
"""
COUNTERS = """
    INSERT INTO orgs_eventcounter (organization_id, last_number)
    SELECT organization_id, max(number) FROM orgs_eventnumber GROUP BY organization_id
"""


class Migration(migrations.Migration):

    dependencies = [
        ('orgs', '0007_event_numbers'),
    ]

    operations = [
        migrations.RunSQL([NUMBERS, COUNTERS], migrations.RunSQL.noop),
    ]
