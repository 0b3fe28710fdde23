"""A private Docker Engine with its own socket, data and containers, which are removed at the end.

It has no bridge and no firewall rules, so it does not change the machine's network. It needs root
and Debian's `docker.io` and `busybox-static`.
"""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import docker
import psutil
import requests
from docker.client import DockerClient
from docker.errors import DockerException, ImageNotFound

from hypervisor.standalone.home import free_port
from hypervisor.standalone.process import Process, Service
from tests.support import docker_image
from tests.support.certificates import Authority

DOCKERD = shutil.which("dockerd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
_FOLDERS = Path("/tmp")  # a socket's path is at most 107 bytes: pytest's own folders are too deep
_PREFIX = "hv-engine-"
_STUB_HOOK = "nvidia-container-runtime-hook"


def missing() -> str | None:
    """Return why no engine can run here, with the remedy; None if one can."""
    if DOCKERD is None or docker_image.busybox() is None:
        return "no Docker Engine here: apt-get install docker.io busybox-static"
    if os.geteuid() != 0:
        return "a private Docker Engine needs root"
    return None


class Engine:
    """One dockerd. Create it in the main thread; `close` removes all of it.

    `live_restore`: containers outlive the engine. `gpu`: requests for GPUs succeed without GPUs.
    `fenced`: it has its own network namespace, so that it can have bridges and a firewall. `tls`:
    it also listens on `address`, for clients with a certificate of this authority.
    """

    def __init__(
        self,
        *,
        live_restore: bool = False,
        gpu: bool = True,
        fenced: bool = False,
        tls: Authority | None = None,
    ) -> None:
        _sweep()
        self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_FOLDERS))
        self._owned = _own(self.folder)
        self.socket = f"unix://{self.folder}/docker.sock"
        self.log = self.folder / "log"
        self.address = f"tcp://127.0.0.1:{free_port()}" if tls else ""
        self._options = ["--live-restore"] if live_restore else []
        self._options += self._tls_options(tls) if tls else []
        self._fenced = fenced
        self._environment = self._path_with_hook() if gpu else {}
        self._configuration = _configuration(self.folder)
        self._process: Process | None = None
        self.client: DockerClient = docker.DockerClient(self.socket, version="1.41", timeout=60)

    def start(self) -> None:
        """Start the engine, also after it was killed; return when it answers."""
        for stale in ("docker.pid", "exec/containerd/containerd.pid"):
            (self.folder / stale).unlink(missing_ok=True)
        self._process = Process(
            Service(
                name="dockerd",
                command=self._command(),
                log=self.log,
                is_ready=self.answers,
                environment=self._environment,
                grace_s=30,
                ready_within_s=60,
            )
        )
        self._process.wait_until_ready()
        if not self.client.images.list(docker_image.IMAGE):
            repository, tag = docker_image.IMAGE.split(":")
            self.client.api.import_image_from_data(
                docker_image.files(), repository=repository, tag=tag, changes=docker_image.CHANGES
            )

    def stop(self) -> None:
        """Stop the engine with SIGTERM, like a service manager; its containers stop or continue."""
        if self._process:
            self._process.stop()

    def kill(self) -> None:
        """Kill the engine with SIGKILL. Its containers continue until its next start, or beyond."""
        if self._process:
            file = self.folder / "exec/containerd/containerd.pid"
            containerd = psutil.Process(int(file.read_text()))
            self._process.kill()
            with suppress(psutil.NoSuchProcess):  # it may end with its parent
                containerd.kill()
            psutil.wait_procs([containerd], 10)

    def pause(self) -> None:
        """Make the engine hang: it accepts connections but does not answer."""
        self._signal(signal.SIGSTOP)
        wait_until(self._hangs, "every thread of dockerd has stopped")

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.exit_status() is None

    def answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except (DockerException, requests.RequestException):
            return False

    def clear(self) -> None:
        """Remove every container and volume, after starting the engine if it is down."""
        if not self.is_alive:
            self.start()
        for container in self.client.containers.list(all=True):
            container.remove(force=True, v=True)
        self.client.networks.prune()
        for volume in self.client.volumes.list():
            volume.remove()

    def remove_image(self, name: str) -> None:
        with suppress(ImageNotFound):
            self.client.images.remove(name, force=True)

    def close(self) -> None:
        """Stop the engine and remove its containers, processes, mounts and files."""
        self.resume()
        with suppress(DockerException, requests.RequestException):
            if self.is_alive:
                self.clear()
        self.client.close()
        self.stop()
        _remove(self.folder)
        os.close(self._owned)

    def _command(self) -> Sequence[str]:
        network = ["--bridge=none", "--iptables=false", "--ip-masq=false"]
        return [
            *(["unshare", "--net"] if self._fenced else []),
            str(DOCKERD), "--host", self.socket, "--config-file", str(self._configuration),
            "--data-root", f"{self.folder}/data", "--exec-root", f"{self.folder}/exec",
            "--pidfile", f"{self.folder}/docker.pid", "--cgroup-parent", f"/{self.folder.name}",
            "--exec-opt", "native.cgroupdriver=cgroupfs", "--storage-driver", "overlay2",
            "--shutdown-timeout", "5", "--ip6tables=false", "--ip-forward=false",
            *([] if self._fenced else network), *self._options,
        ]  # fmt: skip

    def _tls_options(self, authority: Authority) -> list[str]:
        server = authority.issue("engine")
        texts = {"ca": authority.certificate, "cert": server.certificate, "key": server.key}
        options = ["--host", self.address, "--tlsverify"]
        for name, text in texts.items():
            file = self.folder / f"{name}.pem"
            file.write_text(text)
            options += [f"--tls{'cacert' if name == 'ca' else name}", str(file)]
        return options

    def _path_with_hook(self) -> dict[str, str]:
        """Return a PATH with a dummy of the program with which dockerd detects GPUs."""
        bin_ = self.folder / "bin"
        bin_.mkdir()
        hook = bin_ / _STUB_HOOK
        hook.write_text("#!/bin/sh\nexit 0\n")
        hook.chmod(0o755)
        return {"PATH": f"{bin_}:{os.environ['PATH']}:/usr/sbin:/sbin"}

    def _hangs(self) -> bool:
        assert self._process
        threads = Path(f"/proc/{self._process.pid}/task").iterdir()
        return all((t / "stat").read_text().rpartition(") ")[2][0] == "T" for t in threads)

    def _signal(self, number: signal.Signals) -> None:
        if self._process and self.is_alive:
            os.kill(self._process.pid, number)


def _configuration(folder: Path) -> Path:
    """Write a configuration separate from the machine's.

    Old engines keep their id in /etc unless configured otherwise, so that two would share it.
    """
    done = subprocess.run([str(DOCKERD), "--version"], capture_output=True, text=True, check=True)
    major = int(done.stdout.split("version ")[1].split(".")[0])
    file = folder / "daemon.json"
    identity = {"deprecated-key-path": f"{folder}/key.json"} if major < 23 else {}
    file.write_text(json.dumps(identity))
    return file


def wait_until(condition: Callable[[], object], what: str, seconds: float = 20) -> None:
    """Return when the condition holds. Raises AssertionError after so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"Not within {seconds:g} s: {what}.")
        time.sleep(0.02)


def _own(folder: Path) -> int:
    """Mark the folder as in use while this process lives."""
    lock = os.open(folder / "owner", os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return lock


def _sweep() -> None:
    """Remove the folders that killed test processes have left."""
    for folder in _FOLDERS.glob(f"{_PREFIX}*"):
        with suppress(FileNotFoundError, BlockingIOError):
            lock = os.open(folder / "owner", os.O_RDWR)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(folder)
            finally:
                os.close(lock)


def _remove(folder: Path) -> None:
    left = _processes_of(folder)
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, 10)
    for mount in _mounts_under(folder):
        subprocess.run(["umount", "--lazy", mount], check=False)
    shutil.rmtree(folder, ignore_errors=True)


def _processes_of(folder: Path) -> list[psutil.Process]:
    """Return the engine's processes and those in its containers."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            words = process.cmdline()
            if any(str(folder) in word for word in words):
                found += [process, *process.children(recursive=True)]
    return found


def _mounts_under(folder: Path) -> list[str]:
    """Return the mount points in the folder, the innermost first."""
    rows = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [row.split()[4] for row in rows]
    return sorted((p for p in points if p.startswith(f"{folder}/")), reverse=True)
