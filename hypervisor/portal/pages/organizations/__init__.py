"""The pages of organizations.

base          what the pages of one organization share
lists         the person's organizations; creating and joining one
overview      one organization: its clusters
usage         who uses how much of it, now and over time
members       its members, their roles and its service accounts
invite        its invite code
settings      its name, its registries and webhooks, its deletion
registries    log-ins to registries
webhooks      webhooks
"""
