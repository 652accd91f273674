"""Parses DAG files as Airflow's processor does, each time in a fresh child, and writes down what that took.

Run as a program: `python parse_probe.py TIMES FILE…` prints one JSON document. Airflow itself is imported
first, once: its own seconds are not the files'.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
from typing import Any

# What no parse may do; reading modules and settings is all that it needs.
_FORBIDDEN = {
    *("socket.connect", "socket.getaddrinfo", "socket.bind", "sqlite3.connect", "subprocess.Popen"),
    *("os.system", "os.posix_spawn", "os.fork", "os.mkdir", "os.remove", "os.rename", "os.rmdir"),
    *("shutil.rmtree", "urllib.Request", "smtplib.connect"),
}


def parse(path: str) -> dict[str, Any]:
    """Execute a DAG file here; return its seconds, the modules that it loaded, and what it did outside."""
    done: list[str] = []

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _FORBIDDEN:
            done.append(event)
        elif event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
            done.append(f"open for writing: {arguments[0]}")

    from airflow.sdk import BaseHook, Variable

    def looked_up(name: str, *_: Any, **__: Any) -> None:
        done.append(f"look-up of {name}")
        raise LookupError(name)

    BaseHook.get_connection = looked_up  # type: ignore[method-assign, assignment]
    Variable.get = looked_up  # type: ignore[method-assign, assignment]
    before = set(sys.modules)
    spec = importlib.util.spec_from_file_location("parsed_dag", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.addaudithook(watch)
    began = time.perf_counter()
    spec.loader.exec_module(module)
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "modules": sorted(set(sys.modules) - before), "done": done}


def in_a_child(path: str) -> dict[str, Any]:
    """Parse in a forked child, so that nothing that one parse imports helps the next."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reader)
            os.write(writer, json.dumps(parse(path)).encode())
            status = 0
        except BaseException as error:
            os.write(writer, json.dumps({"error": repr(error)}).encode())
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        result: dict[str, Any] = json.load(pipe)
    os.waitpid(child, 0)
    return result


def main() -> None:
    """Parse each file so many times."""
    sys.dont_write_bytecode = True
    times, *paths = sys.argv[1:]
    import airflow.dag_processing.processor  # noqa: F401 -- what Airflow forks each of its parses from

    base = sorted({name.partition(".")[0] for name in sys.modules})
    found = {path: [in_a_child(path) for _ in range(int(times))] for path in paths}
    json.dump({"base": base, "parsed": found}, sys.stdout)


if __name__ == "__main__":
    main()
