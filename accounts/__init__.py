"""People.

models          users, families of tokens, idempotency keys, the audit trail
services        registration, changes of a person, permissions
tokens          access and refresh tokens; authentication reads them
sessions/       sessions of browsers
access          ends a user's sessions and log-ins, and what other apps register
passwords, usernames   rules for both
mails           mails about an account
addresses       verified e-mail addresses
recovery        forgotten passwords
oidc/           signing in through a provider
backends        who may sign in with a password
closing         the end of an account
throttles, lockout     limits for guessing and flooding
idempotency     a POST is done at most once
journal         log lines about signing in and out
audit/          the trail of what people change
views, serializers     the REST API
"""
