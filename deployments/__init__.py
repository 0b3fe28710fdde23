"""Demand.

models        deployments, dependencies
choices       the values that their columns have, such as the statuses
lifecycle     the state machine: the only code that changes a status
services, bulk, selection   actions on one, many, or all that a filter selects
groups        changes of any number of deployments in a constant number of statements
insertion     the rows and events of a submission in one statement
specs         what a submission requests, and whether a cluster could ever run it
waiting       why a pending deployment does not compete
dependencies, environment, images, moves, handover, bounds   one subject each
demand        what the apps further left ask about deployments
runtime/      runs; reconciles the ledger with the containers
arrays/       many equal deployments of one submission
labels        what deployments are found by
logs/         the output of containers
notices/      what happens to deployments, reported to people by mail or at an address
usage/        what an organization has and uses
serializers, filters   formats of the REST API, whose views are in scheduling
"""
