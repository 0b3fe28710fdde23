"""Writes its standard input to a log file, and starts a new file when that one is full.

One log writer runs for each process of `manage.py up`, at the other end of a pipe. It ends when no
process can write to the pipe any more, so no line is lost even when the supervisor is killed. It
imports only small modules of the standard library.
"""

import os
import sys
from contextlib import suppress

_READ = 64 * 1024


def main(path: str, limit: int, kept: int) -> None:
    """Copy standard input to files of about `limit` bytes: `path`, and the `kept` before it."""
    while data := os.read(0, _READ):
        # A full disk loses lines, but must not block the process that writes them.
        with suppress(OSError):
            size = os.stat(path).st_size if os.path.exists(path) else 0
            cut = _cut(data, size, limit)
            if cut:
                _append(path, data[:cut])
                _shift(path, kept)
            _append(path, data[cut:])


def _cut(data: bytes, size: int, limit: int) -> int:
    """Return how many bytes of the data complete the current file; 0 if it does not get full."""
    if size + len(data) < limit:
        return 0
    line_end = data.rfind(b"\n") + 1
    return line_end or (len(data) if size > 2 * limit else 0)


def _append(path: str, data: bytes) -> None:
    with open(path, "ab") as file:
        file.write(data)


def _shift(path: str, kept: int) -> None:
    """Rename the file to `.1`, `.1` to `.2` and so on, which replaces the last one."""
    names = [path, *(f"{path}.{number}" for number in range(1, kept + 1))]
    for older, newer in zip(reversed(names), reversed(names[:-1]), strict=False):
        with suppress(FileNotFoundError):
            os.replace(newer, older)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
