"""The output of containers.

models        what is stored of it
store         reads it from the engine, or from what was stored when the container was removed
readers       limits the threads that read from engines
follow_limit  limits the logs that are followed
"""
