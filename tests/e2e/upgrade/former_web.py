"""Serve the web of a former release and optionally record the statements that it executes.

Run as `python -P former_web.py PORT [FILE]`, with the former release's code in PYTHONPATH; nothing
of this release is imported. FILE gets one statement a line, as JSON strings, with the parameters
filled in. A statement that fails is left out.
"""

import json
import sys
from typing import Any

import psycopg
from django.core.servers.basehttp import run
from django.db.backends.utils import CursorWrapper


def record_statements(path: str) -> None:
    """Append each statement that succeeds from now on to the file."""
    file = open(path, "a", buffering=1)  # noqa: PTH123, SIM115 open as long as the process lives
    execute = CursorWrapper._execute  # type: ignore[attr-defined]
    execute_many = CursorWrapper._executemany  # type: ignore[attr-defined]

    def record(cursor: Any, sql: str, params: Any) -> None:
        text = psycopg.ClientCursor(cursor.db.connection).mogrify(sql, params)
        file.write(json.dumps(text, ensure_ascii=False) + "\n")

    def recorded(self: Any, sql: str, params: Any, *context: Any) -> Any:
        result = execute(self, sql, params, *context)
        record(self, sql, params)
        return result

    def recorded_many(self: Any, sql: str, rows: Any, *context: Any) -> Any:
        rows = list(rows)
        result = execute_many(self, sql, rows, *context)
        for params in rows:
            record(self, sql, params)
        return result

    CursorWrapper._execute = recorded  # type: ignore[attr-defined]
    CursorWrapper._executemany = recorded_many  # type: ignore[attr-defined]


def main() -> None:
    port, *path = sys.argv[1:]
    if path:
        record_statements(path[0])
    from hypervisor.wsgi import application

    run("127.0.0.1", int(port), application, threading=True)


if __name__ == "__main__":
    main()
