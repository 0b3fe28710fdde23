from django.apps import AppConfig


class BenchmarksConfig(AppConfig):
    """The command `bench`. It is installed where its folder is, which the image leaves out."""

    name = "benchmarks"
