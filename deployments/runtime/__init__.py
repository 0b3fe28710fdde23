"""Reconciliation of the ledger with the containers.

models         the runs, and the containers that a deleted one may leave behind
reconcile      compares runs with containers, then stops, launches and records
known          what a pass knows of each run
requests       which engines are to be reconciled
launching      which runs may start a container now, and on which GPUs
starting       starts the containers of launches, several at once
outcomes       what follows when a container could not start, ended or vanished
closing        ends runs whose containers are gone
lost_contact   engines that do not answer
node_warnings  warnings about nodes that do not respond
orphans        containers that belong to no unfinished run
lock           one process at a time for each engine
claims         how an operator takes over an engine after a restore
comparison     proves that engines and ledger agree
"""
