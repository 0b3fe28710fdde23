"""The members' pages of things."""

PAGES = {
    "cluster": "portal:cluster",
    "deployment": "portal:deployment",
    "deployments": "portal:deployments",
    "logs": "portal:logs",
    "organization": "portal:organization",
    "queue": "portal:queue",
}
"""The pages to which `{% link %}` leads, by the kind of thing."""
