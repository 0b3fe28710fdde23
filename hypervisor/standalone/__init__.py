"""The one-machine start, `manage.py up`. Importing this package needs the standard library alone.

bootstrap   the virtual environment, made on first use
overview    the product's commands and their help
commands    runs Django's commands with errors that help
up          starts the whole service, from PostgreSQL to beat
home        HYPERVISOR_HOME: what such a service keeps, and which process uses it
servers     PostgreSQL and Valkey from wheels
supervisor  starts services in order, restarts and stops them
process     one child process that cannot outlive its parent
log_file    writes a child's output to log files of bounded size
"""
