"""Service accounts: members of one organization that are programs, without a password.

models    the accounts; each is a user, and a member with a role
services  adding and deleting them
serializers, views   the REST API

API tokens for them are made by admins of the organization; see `orgs.tokens`.
"""
