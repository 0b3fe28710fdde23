"""Traces cost nothing when they are off, and cannot make the work fail."""

import sys

import pytest
from pytest_django import Settings

from hypervisor.base import tracing


def test_without_an_endpoint_nothing_is_made(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TRACES_ENDPOINT = ""
    monkeypatch.setattr(tracing, "_record", None)

    tracing.record("cycle", 0, [("plan", 1)], {})


def test_without_the_packages_the_work_goes_on(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TRACES_ENDPOINT = "http://127.0.0.1:1/v1/traces"
    monkeypatch.setitem(sys.modules, "opentelemetry.context", None)

    tracing.record("cycle", 0, [("plan", 1)], {})
