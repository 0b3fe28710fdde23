"""Webhooks: an organization's events, sent to an address of its choice as Standard Webhooks says.

models      the webhooks, the deliveries that need attention, and the attempts that were counted
services    what people do with webhooks
targets     which addresses a webhook may have
addresses   which IP addresses may be called
signing     secrets and signatures
messages    an event as it is sent
connections what is read of a connection
attempts    one attempt to deliver a message
schedule    when a message is sent again
outbox      what a sender has to send, and what became of it
sender      the coroutines that send
serializers, views   the REST API
"""
