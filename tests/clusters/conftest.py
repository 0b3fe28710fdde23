from tests.deployments.conftest import (
    bring,
    forge,
    globex,
    globex_cluster,
    member_as,
    submit,
)

__all__ = ["bring", "forge", "globex", "globex_cluster", "member_as", "submit"]
