"""A chat learns what happens to a deployment, from the real processes."""

import json

from benchmarks.service import Service
from tests.support.receiver import receiving
from tests.support.service import User


def test_a_chat_learns_of_a_failure_although_the_worker_was_killed(service: Service) -> None:
    with receiving() as receiver, User.newcomer(service.url, "nora", patience_s=60) as nora:
        nora.post("/organizations", name="Notices")
        nora.post("/clusters", name="rack", cpu=8, ram_mib=8192)
        nora.post("/notices", channel="slack", url=receiver.url)
        broken = nora.deploy("broken", env={"SIMULATE_EXIT_CODE": "3"})
        nora.wait_for(broken, "failed")
        service.kill("engines")
        message = json.loads(receiver.next().body)

    assert message["text"].startswith("*broken failed*\n")
    assert f"/my/deployments/{broken}/|broken failed>" in message["text"]
