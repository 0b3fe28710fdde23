"""API tokens, for programs: what a user may do, limited by a scope and perhaps an organization.

grants          what a token allows, as the caller carries it through a request
models          the tokens, of which only digests are stored
services        making, finding and revoking tokens
authentication  `Authorization: Bearer`, for these tokens and for those of log-ins
scopes          the check that every call makes of the caller's token
serializers, views   the REST API
"""
