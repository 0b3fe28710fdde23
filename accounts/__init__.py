"""People.

models          users, families of tokens, idempotency keys, the audit trail
services        registration, changes of a person, permissions
tokens          access and refresh tokens; authentication reads them
access          ends a user's log-ins, and what other apps register
passwords, usernames   rules for both
throttles, lockout     limits for guessing and flooding
idempotency     a POST is done at most once
audit/          the trail of what people change
views, serializers     the REST API
"""
