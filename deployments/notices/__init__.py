"""Notices: what happens to deployments, reported to people by mail or at an address of theirs.

models      rules, recipients, notices, the messages that carry them, positions in the feed
kinds       the kinds of notices, and the rule that holds for a person without one
services    what people do with rules
facts       what the events of the feed say, in words
waits       deployments that have been waiting for long, or can never start
collecting  which recipients get which fact; each is collected exactly once
gathering   which notices go into one message, and when
mail        a message as a mail, and how the mail server answered
posts       a message for an address, for Slack or as Standard Webhooks says
outbox      which recipients have something to get, and what became of an attempt
sender      the threads that collect and send
serializers, views   the REST API
"""
