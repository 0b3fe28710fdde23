"""The one-machine start, `manage.py up`. Importing this package needs only the standard library.

bootstrap   the virtual environment, created on first use
overview    the product's commands and their help
commands    runs Django's commands with helpful errors
up          starts the whole service, from PostgreSQL to beat
home        HYPERVISOR_HOME: the files of such a service, and the lock of the process that uses it
servers     PostgreSQL and Valkey from wheels
supervisor  starts services in order, restarts and stops them
process     one child process that cannot outlive its parent
log_file    writes a child's output to log files of limited size
"""
