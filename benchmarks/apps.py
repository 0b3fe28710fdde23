from django.apps import AppConfig


class BenchmarksConfig(AppConfig):
    """The command `bench`. The image does not contain this folder, and so has no such command."""

    name = "benchmarks"
