"""Tenants.

models        organizations, memberships, invite codes, events
roles         the roles, in their order
tenancy       what a person sees
permissions   the table of roles, and which organization a request means
services      actions on organizations and members, with the check of an invite code
events        the append-only history
feed/         the numbers of events, by which they can be followed
viewsets      the base that scopes every view to the caller's organizations
departures, deletion   what other apps register for members who leave, and for deletions
tokens/                API tokens, which limit what a caller sees and may do
service_accounts/      members that are programs
views, serializers     the REST API
"""
