"""Wiring, and what every app stands on.

settings, env   Django's settings; the table of what the environment may set
api, urls       every route
errors, openapi, docs, health, headers, csp, sessions   one subject each of HTTP or the database
base/, rest/    what every app stands on
console/        the operators' admin
web/            the web server
standalone/     the one-machine start, `manage.py up`
demo/           an example company
"""
