"""Wiring, and what every app stands on.

settings, env   Django's settings; the table of what the environment may set
mail_server     the mail server that a URL names
api, urls       every route
errors, openapi, docs, health, headers, csp, sessions   one subject each of HTTP or the database
base/, rest/    what every app stands on
pages           which paths are pages for people
ui/             the building blocks of pages
console/        the operators' admin
portal/         the members' pages
web/            the web server
standalone/     the one-machine start, `manage.py up`
demo/           an example company
"""
