"""What `hv` prints and returns, against a real service."""

import http.server
import json
import socket
import stat
import subprocess
import threading
from pathlib import Path
from typing import ClassVar

import pytest

from benchmarks.client import PASSWORD, Client
from benchmarks.service import Service
from tests.client.conftest import Run
from tests.support.receiver import Reply, receiving


def test_a_log_in_keeps_a_token_for_its_owner_alone_and_a_logout_revokes_it(
    hv: Run, log_in: None, service: Service, tmp_path: Path
) -> None:
    file = tmp_path / ".config" / "hv" / "contexts.json"
    (context,) = json.loads(file.read_text())["contexts"].values()

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert context["token"].startswith("hv_")
    assert PASSWORD not in file.read_text()

    assert hv("logout").returncode == 0
    refused = hv("whoami", HV_URL=service.url, HV_TOKEN=context["token"])
    assert refused.returncode == 1
    assert "The token in HV_TOKEN is wrong, expired or revoked" in refused.stderr
    assert "HV_TOKEN is not: set it" in hv("whoami", HV_URL=service.url).stderr
    contexts = json.dumps({"current": "rack", "contexts": {"rack": context}})
    (tmp_path / "old.json").write_text(contexts)
    refused = hv("whoami", HV_CONFIG=str(tmp_path / "old.json"))
    assert refused.stderr.endswith(f"hv login {service.url}\n")


def test_a_token_for_a_program_is_made_without_further_options(
    hv: Run, log_in: None, service: Service
) -> None:
    made = hv("token", "create", "ci", "--scope", "read")

    assert made.returncode == 0, made.stderr
    seen = hv("clusters", HV_URL=service.url, HV_TOKEN=made.stdout.strip())
    assert "rack-1" in seen.stdout
    assert hv("stop", "none", HV_URL=service.url, HV_TOKEN=made.stdout.strip()).returncode == 1


def test_waiting_ends_with_the_code_of_the_container(hv: Run, log_in: None) -> None:
    simulated = ("--env", "SIMULATE_RUN_SECONDS=1", "--env", "SIMULATE_EXIT_CODE=3")

    done = hv("submit", "--image", "ml/a:1", "--name", "fails", *simulated, "--wait")

    assert done.returncode == 3, done.stderr
    assert hv("wait", "fails").returncode == 3
    assert hv("wait", "fails", "--until", "running").returncode == 3


def test_events_are_shown_as_they_happen(
    environment: Path, service: Service, ada: Client, tmp_path: Path
) -> None:
    with subprocess.Popen(
        [str(environment / "hv"), "events", "--follow", "--after", "0", "--kinds", "submitted"],
        env={"HV_URL": service.url, "HV_TOKEN": ada.token, "HOME": str(tmp_path)},
        stdout=subprocess.PIPE, text=True,
    ) as following:  # fmt: skip
        made = ada.post("/deployments", name="seen", image="ml/a:1", cpu=1, ram_mib=512)
        assert following.stdout
        line = next(each for each in following.stdout if f"deployment {made['id']} " in each)
        following.terminate()

    assert "submitted" in line
    ada.post(f"/deployments/{made['id']}/stop")


def test_a_webhook_is_added_tested_and_replayed(hv: Run, log_in: None) -> None:
    with receiving() as receiver:
        added = hv("webhooks", "add", receiver.url, "--kind", "submitted")
        assert added.returncode == 0, added.stderr
        (webhook,) = json.loads(hv("webhooks", "--json").stdout)
        number = str(webhook["id"])

        tested = hv("webhooks", "test", number)
        assert tested.stdout == "Delivered: the receiver answered with 204.\n", tested.stderr
        assert receiver.next().verified(added.stdout.strip())["type"] == "ping"
        rotated = hv("webhooks", "rotate", number, "--keep-hours", "0")
        hv("webhooks", "test", number)
        assert receiver.next().verified(rotated.stdout.strip())["type"] == "ping"
        receiver.reply = lambda _: Reply(500)
        failed = hv("webhooks", "test", number)
        assert failed.returncode == 1
        assert "status 500" in failed.stderr

    listed = hv("webhooks", "deliveries", number, "--status", "failed")
    assert "ping" in listed.stdout
    assert "0 messages" in hv("webhooks", "replay", number).stdout
    assert hv("webhooks", "delete", number).returncode == 0
    assert "needs the id" in hv("webhooks", "test").stderr


def test_a_cancelled_deployment_has_no_code_of_its_own(hv: Run, log_in: None) -> None:
    hv("submit", "--image", "ml/a:1", "--gpu", "2", "--priority", "90", "--name", "first")
    hv("submit", "--image", "ml/a:1", "--gpu", "2", "--name", "second")

    assert hv("cancel", "second").returncode == 0
    assert hv("wait", "second").returncode == 125
    assert hv("stop", "first").returncode == 0


def test_json_is_the_services_answer(hv: Run, log_in: None, ada: Client) -> None:
    made = json.loads(hv("submit", "--image", "ml/a:1", "--name", "as-json", "--json").stdout)

    shown = json.loads(hv("--json", "show", str(made["id"])).stdout)

    assert shown.keys() == ada.get(f"/deployments/{made['id']}").keys()
    assert hv("delete", "as-json").returncode == 1  # It is not pending.
    assert hv("stop", "as-json").returncode == 0


def test_a_dry_run_shows_what_a_change_would_do_and_changes_nothing(
    hv: Run, log_in: None, ada: Client
) -> None:
    train = int(
        hv(
            "submit", "--image", "ml/a:1", "--gpu", "2", "--priority", "60", "--name", "train"
        ).stdout
    )
    hv("wait", "train", "--until", "running")
    tune = int(hv("submit", "--image", "ml/a:1", "--gpu", "1", "--name", "tune").stdout)
    hv("hold", "tune")
    hv("priority", "train", "20")

    refused = hv("hold", "train", "--dry-run")
    released = hv("release", "tune", "--dry-run")
    answers = json.loads(hv("release", "tune", "--dry-run", "--json").stdout)
    gone = hv("delete", "tune", "--dry-run")
    drained = hv("drain", "rack-1", "--node", "rack-1", "--dry-run")
    resized = hv("resize", "rack-1", "--gpu", "3", "--dry-run", "--json")
    nothing = hv("resize", "rack-1", "--dry-run")

    assert (refused.returncode, "only a pending deployment" in refused.stderr) == (1, True)
    lines = released.stdout.splitlines()
    assert lines[0] == f"Dry run, nothing is changed: {tune} (tune) would be pending."
    assert lines[1].endswith("UTC at the latest, would:")
    assert lines[2].startswith(f"  evict train ({train}, priority 20) from rack-1, which loses ")
    assert lines[3] == f"  start tune ({tune}, priority 50) on rack-1"
    kinds = [row["kind"] for row in answers[0]["preview"]["consequences"]]
    assert (answers[0]["id"], kinds) == (tune, ["evicted", "starts"])
    assert "tune would be deleted." in gone.stdout
    assert f"  evict train ({train}, priority 20) from rack-1" in drained.stdout
    assert json.loads(resized.stdout)["gpu"] == 3
    assert "Say what to change" in nothing.stderr
    assert ada.get(f"/deployments/{tune}")["status_code"] == "held"
    assert {c["state"] for c in ada.list("/clusters")} == {"active"}
    hv("stop", "train")
    hv("cancel", "tune")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("submit",), 1, "Say what to run"),
        (("submit", "--image", "ML/a:1"), 1, "image: A repository's name is in lower case"),
        (("submit", "--image", "a:1", "--require", "gpu"), 1, "write LABEL=VALUE"),
        (("submit", "--image", "a:1", "--secret", "NO_SUCH"), 1, "no such variable"),
        (("submit", "no-such-file.yaml"), 1, "cannot be read"),
        (("show", "no-such-name"), 1, "You can see no deployment called"),
        (("drain", "no-such-name"), 1, "You can see no cluster called 'no-such-name'"),
        (("explain", "999999"), 1, "does not exist"),
        (("api", "POST", "/organizations", "{"), 1, "The body is not JSON"),
        (("context", "use", "nowhere"), 1, "There is no context 'nowhere'"),
        (("no-such-command",), 2, "invalid choice"),
        (("ps", "--", "ls"), 2, "only `submit` takes a command"),
    ],
)
def test_errors_say_what_to_do(
    hv: Run, log_in: None, arguments: tuple[str, ...], code: int, said: str
) -> None:
    done = hv(*arguments)

    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_log_in_or_an_answer_it_says_so(hv: Run) -> None:
    assert "hv login" in hv("ps").stderr
    assert "is no address" in hv("ps", HV_URL="nonsense").stderr


def test_a_service_that_does_not_answer_is_reported_at_once(
    environment: Path, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]  # Is closed again: no service listens there.
    with subprocess.Popen(
        [str(environment / "hv"), "ps"],
        env={"HV_URL": f"http://127.0.0.1:{port}", "HV_TOKEN": "hv_x", "HOME": str(tmp_path)},
        stderr=subprocess.PIPE, text=True,
    ) as waiting:  # fmt: skip
        assert waiting.stderr
        said = waiting.stderr.readline()
        waiting.kill()

    assert f"hv: http://127.0.0.1:{port} does not answer" in said
    assert "Trying again for 60 s" in said


def test_usage_is_that_of_the_service(hv: Run, log_in: None, ada: Client) -> None:
    made = ada.post("/deployments", name="used", image="a:1", cpu=1, ram_mib=512, gpu=1)
    hv("wait", "used", "--until", "starting")

    lines = hv("usage").stdout.splitlines()
    answers = json.loads(hv("usage", "--json").stdout)

    assert lines[0] == "Engines: 1 CPU, 512 MiB, 1 GPU of 8 CPU, 32 GiB, 2 GPU allocated"
    name = ada.get("/me")["username"]
    assert lines[2].split() == [name, "1", "0", "1", "512", "MiB", "1"]
    assert answers == [ada.get(f"/organizations/{made['organization']}/usage")]
    ada.post(f"/deployments/{made['id']}/stop")


def test_the_completions_are_scripts_of_their_shell(hv: Run) -> None:
    script = hv("completion", "bash").stdout

    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0
    asked = f"{script}\nCOMP_WORDS=(hv su); COMP_CWORD=1; _hv; echo ${{COMPREPLY[@]}}"
    done = subprocess.run(["bash"], input=asked, text=True, capture_output=True, check=True)
    assert done.stdout.split() == ["submit"]


class _Flaky(http.server.BaseHTTPRequestHandler):
    """Loses the answer to the first request of each key."""

    keys: ClassVar[list[str]] = []
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        key = str(self.headers["Idempotency-Key"])
        self.keys.append(key)
        if self.keys.count(key) == 1:
            self.close_connection = True
            return
        body = json.dumps({"id": 7}).encode()
        self.send_response(201)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_a_lost_answer_is_asked_for_again_with_the_same_key(hv: Run) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Flaky) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        done = hv("submit", "--image", "ml/a:1", HV_URL=url, HV_TOKEN="hv_x")
        server.shutdown()

    assert done.stdout.strip() == "7", done.stderr
    assert len(_Flaky.keys) == 2
    assert len(set(_Flaky.keys)) == 1
