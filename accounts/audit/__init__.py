"""The audit trail: `triggers` write it in the database, `entries` put it into words."""
