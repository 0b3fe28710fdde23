"""Notices: what a person gets, rules for it, and what was sent.

overview     what the person and the person's organizations get, and the messages sent last
rules        the forms of a rule
unsubscribe  the page behind the link in each mail, for which nobody has to sign in
"""
