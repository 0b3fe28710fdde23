"""Give numbers to events, and take them away with old events.

Only committed events get a number. One transaction at a time gives numbers, and commits them before
the next one begins; so whatever a later one commits has a higher number in its organization, and a
follower that has read up to a number has missed nothing before it. An event whose transaction
commits late gets a later number. Nothing waits for a transaction that is open.
"""

from collections.abc import Collection

from django.db import connection

_BATCH = 10_000
"""How many events one transaction numbers: about a tenth of a second."""

_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('event numbers', 0))"

# By the rows' places: by their ids, PostgreSQL would compare each row with each other one, because
# it usually believes that the table is empty.
_NUMBER = """
    WITH taken AS (
        DELETE FROM orgs_unnumberedevent WHERE ctid = ANY(ARRAY(
            SELECT ctid FROM orgs_unnumberedevent ORDER BY event_id LIMIT %s
        )) RETURNING event_id, organization_id
    ), due AS (
        SELECT event_id, organization_id,
            row_number() OVER (PARTITION BY organization_id ORDER BY event_id) AS place,
            count(*) OVER (PARTITION BY organization_id) AS total
        FROM taken WHERE EXISTS (SELECT FROM orgs_organization WHERE id = organization_id)
    ), counted AS (
        INSERT INTO orgs_eventcounter AS present (organization_id, last_number)
        SELECT DISTINCT organization_id, total FROM due
        ON CONFLICT (organization_id)
            DO UPDATE SET last_number = present.last_number + excluded.last_number
        RETURNING organization_id, last_number
    ), numbered AS (
        INSERT INTO orgs_eventnumber (event_id, organization_id, number)
        SELECT event_id, organization_id, last_number - total + place
        FROM due JOIN counted USING (organization_id)
    )
    SELECT count(*) FROM taken
"""

_FORGET = """
    WITH gone AS (
        DELETE FROM orgs_eventnumber WHERE event_id = ANY(%s) RETURNING organization_id, number
    )
    UPDATE orgs_eventcounter c SET deleted_to = greatest(c.deleted_to, highest)
    FROM (SELECT organization_id, max(number) AS highest FROM gone GROUP BY 1) AS deleted
    WHERE c.organization_id = deleted.organization_id
"""


def number_events() -> int:
    """Number all events that have committed before this call; return how many had no number.

    The events of a transaction are numbered in their order, and those of a transaction that began
    after the end of another one after those of the other.
    """
    done = 0
    while True:
        with connection.cursor() as cursor:
            # Two statements, because the second one must see what the lock was waited for.
            cursor.execute(f"{_LOCK}; {_NUMBER}", [_BATCH])
            cursor.nextset()
            count = int(cursor.fetchone()[0])
        done += count
        if count < _BATCH:
            return done


def forget(event_ids: Collection[int]) -> None:
    """Delete the numbers of events that this transaction deletes.

    From then on the feed begins after the highest of them: what was kept before it has holes.
    """
    with connection.cursor() as cursor:
        cursor.execute(f"{_LOCK}; {_FORGET}", [list(event_ids)])
