"""A client of the REST API of MLOps Hypervisor."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hypervisor_client.version import VERSION

if TYPE_CHECKING:
    from hypervisor_client.api import Client
    from hypervisor_client.errors import ApiError, ClientError, Problem, Unreachable

__all__ = ["ApiError", "Client", "ClientError", "Problem", "Unreachable", "__version__"]

__version__ = VERSION


def __getattr__(name: str) -> Any:
    """Import the client when it is used: `hv --help` has no need of it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "api" if name == "Client" else "errors"
    return getattr(import_module(f"{__name__}.{module}"), name)
