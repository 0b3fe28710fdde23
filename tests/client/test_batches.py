"""How the client changes more deployments than one call may change."""

from collections.abc import Iterator
from typing import Any

from hypervisor_client import Client


class _InBatches(Client):
    """Gets the service's answers to a stop of three deployments, of which one call stops two."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:9")
        self.answers: Iterator[dict[str, Any]] = iter(
            (
                {"deployments": [1, 2], "skipped": [], "remaining": 1},
                {"deployments": [3], "skipped": [_skipped(1), _skipped(4)], "remaining": 0},
            )
        )

    def call(self, *_: Any, **__: Any) -> Any:
        return next(self.answers)


def _skipped(deployment: int) -> dict[str, Any]:
    return {"deployment": deployment, "code": "stopping", "reason": "It is stopping."}


def test_what_an_earlier_batch_has_changed_is_not_skipped() -> None:
    with _InBatches() as client:
        result = client.act_on_all("stop", {"array": 7})

    assert result["deployments"] == [1, 2, 3]
    assert [each["deployment"] for each in result["skipped"]] == [4]
