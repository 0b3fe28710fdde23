"""Tests of the operators' console, whose pages are loaded with its URLs."""

from hypervisor.console import urls as urls
