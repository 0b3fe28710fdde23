from tests.deployments.conftest import forge, submit

__all__ = ["forge", "submit"]
