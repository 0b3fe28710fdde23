"""An image for engines without a registry: Debian's static busybox under all its names."""

import io
import shutil
import subprocess
import tarfile

IMAGE = "test/busybox:1"
_PATH = "/bin"
_FOLDERS = {"bin": 0o755, "etc": 0o755, "proc": 0o755, "sys": 0o755, "dev": 0o755, "tmp": 0o1777}
_FILES = {
    "etc/passwd": "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
}
CHANGES = [f"ENV PATH={_PATH}", 'CMD ["sh"]']
"""The configuration for `docker import`."""


def busybox() -> str | None:
    """Return the path of the static busybox, None if there is none."""
    return shutil.which("busybox", path="/bin:/usr/bin")


def files() -> bytes:
    """Return the image's only layer, a tar."""
    binary = busybox()
    if binary is None:
        raise RuntimeError("No busybox: apt-get install busybox-static")
    names = subprocess.run([binary, "--list"], capture_output=True, text=True, check=True)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, mode in _FOLDERS.items():
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, mode
            tar.addfile(folder)
        for name, text in _FILES.items():
            file = tarfile.TarInfo(name)
            file.size = len(text)
            tar.addfile(file, io.BytesIO(text.encode()))
        tar.add(binary, "bin/busybox", filter=_as_root)
        for name in names.stdout.split():
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            if name != "busybox":
                tar.addfile(link)
    return packed.getvalue()


def _as_root(file: tarfile.TarInfo) -> tarfile.TarInfo:
    file.uid = file.gid = 0
    file.uname = file.gname = "root"
    file.type = tarfile.REGTYPE
    return file
