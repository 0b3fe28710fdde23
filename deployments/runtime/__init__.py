"""The ledger and the containers, brought together.

reconcile      compares runs with containers, then stops, launches and records
launching      which runs may start a container now, and on which GPUs
outcomes       what follows when a container could not start, ended or vanished
closing        ends runs whose containers are gone
lost_contact   engines that do not answer
node_warnings  nodes of an engine that fall silent
orphans        containers that belong to no unfinished run
lock           one process at a time per engine
claims         an operator takes an engine over after a restore
comparison     proves that engines and ledger agree
"""
