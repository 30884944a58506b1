"""PostgreSQL server for tests, on a loopback port, that can be stopped and restarted."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

_USER = "nobody"  # PostgreSQL refuses to run as root


class PostgresServer:
    """Server with a new, empty database that accepts every login."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self._folder, self._programs = folder, programs
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self._call("initdb", "--no-sync", "--auth=trust", "--username=tuner")

    @property
    def url(self) -> str:
        return f"postgresql://tuner@127.0.0.1:{self._port}/postgres"

    def start(self) -> None:
        options = f"-F -h 127.0.0.1 -p {self._port} -k {self._folder}"
        log = str(self._folder / "log")
        self._call("pg_ctl", "start", "--wait", "--options", options, "--log", log)

    def stop(self, mode: str = "fast") -> None:
        """Stop the server; `immediate` closes no connection, like a machine that goes down."""
        self._call("pg_ctl", "stop", "--wait", "--mode", mode)

    def _call(self, program: str, *arguments: str) -> None:
        as_user = []
        if os.getuid() == 0:
            as_user = ["setpriv", f"--reuid={_USER}", "--regid=nogroup", "--clear-groups"]
        subprocess.run(
            [*as_user, self._programs / program, "-D", self._folder / "data", *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self._folder,
        )


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Run a server; skip the test if PostgreSQL is not installed."""
    programs = _programs()
    if programs is None:
        pytest.skip("no PostgreSQL server is installed: there is no initdb")
    # Not in pytest's folder, into which another user may not look.
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as name:
        if os.getuid() == 0:
            shutil.chown(name, _USER)
        server = PostgresServer(Path(name), programs)
        server.start()
        try:
            yield server
        finally:
            with suppress(subprocess.CalledProcessError):  # the test may have stopped it
                server.stop("immediate")


def _programs() -> Path | None:
    """Return the folder of initdb and pg_ctl; Debian does not put them on the path."""
    folders = [Path(path).parent for path in [shutil.which("initdb")] if path]
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((folder for folder in folders if (folder / "pg_ctl").exists()), None)
