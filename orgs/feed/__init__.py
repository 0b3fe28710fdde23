"""The feed of an organization: its events in an order in which a follower misses none.

models      the numbers of events, and the events that have none yet
numbering   gives numbers to the events of transactions that have committed
kinds       every kind of event, with its meaning
reading     the events after a number
following   what a caller follows, which a view hands over to the event loop
views, serializers   the REST API
"""
