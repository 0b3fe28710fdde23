"""The members' pages of things."""

PAGES = {
    "cluster": "portal:cluster",
    "deployments": "portal:deployments",
}
"""The pages to which `{% link %}` leads, by the kind of thing."""
