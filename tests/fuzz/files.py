"""Mutations of any file: its bytes, and what stands under its name."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

_SPARSE = (2**27, 2**33, 2**40)


def damage(path: Path, rng: random.Random, victims: Path) -> str:
    """Damage a file, or put a link, a FIFO or a folder in its place.

    Args:
        path: File.
        rng: Generator of the mutation.
        victims: Folder with files that links lead to.

    Returns:
        The mutation in a few words.
    """
    kinds: list[Callable[[Path, random.Random, Path], None]] = [
        *(_flip, _cut, _insert, _zeros, _repeat, _text) * 2,
        *(_remove, _empty, _sparse, _fifo, _folder, _link, _device, _loop, _swap),
    ]
    kind = rng.choice(kinds)
    kind(path, rng, victims)
    return f"{kind.__name__.strip('_')} {path.name}"


def _flip(path: Path, rng: random.Random, victims: Path) -> None:
    content = bytearray(path.read_bytes() or b"x")
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def _cut(path: Path, rng: random.Random, victims: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: rng.randrange(len(content) + 1)])


def _insert(path: Path, rng: random.Random, victims: Path) -> None:
    content, at = path.read_bytes(), rng.randrange(path.stat().st_size + 1)
    path.write_bytes(content[:at] + rng.randbytes(rng.choice((1, 8, 5000))) + content[at:])


def _zeros(path: Path, rng: random.Random, victims: Path) -> None:
    content, at = path.read_bytes(), rng.randrange(path.stat().st_size + 1)
    n_bytes = rng.choice((4, 64, 4096))
    path.write_bytes(content[:at] + bytes(n_bytes) + content[at + n_bytes :])


def _repeat(path: Path, rng: random.Random, victims: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content * rng.choice((2, 3)))


def _text(path: Path, rng: random.Random, victims: Path) -> None:
    """Replace a word by an odd text."""
    content = path.read_bytes()
    odd = (
        b"nan",
        b"-1",
        b"9" * 5000,
        b"\xff\xfe",
        b"\x1b[2J",
        b"\t",
        b"\n",
        b"[" * 5000,
        b'"',
        b"",
    )
    words = content.split(b" ") if b" " in content else content.split(b",")
    words[rng.randrange(len(words))] = rng.choice(odd)
    path.write_bytes((b" " if b" " in content else b",").join(words))


def _remove(path: Path, rng: random.Random, victims: Path) -> None:
    path.unlink()


def _empty(path: Path, rng: random.Random, victims: Path) -> None:
    path.write_bytes(b"")


def _sparse(path: Path, rng: random.Random, victims: Path) -> None:
    os.truncate(path, path.stat().st_size + rng.choice(_SPARSE))


def _fifo(path: Path, rng: random.Random, victims: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _folder(path: Path, rng: random.Random, victims: Path) -> None:
    path.unlink()
    path.mkdir()


def _link(path: Path, rng: random.Random, victims: Path) -> None:
    """Replace the file, or the folder that it lies in, by a link to a file or folder of a user."""
    if rng.random() < 0.5:
        path.unlink()
        path.symlink_to(victims / "notes")
    else:
        path.unlink()
        target = victims / "folder" / path.name
        path.symlink_to(target)


def _device(path: Path, rng: random.Random, victims: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def _loop(path: Path, rng: random.Random, victims: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def _swap(path: Path, rng: random.Random, victims: Path) -> None:
    """Put the content of another file of the same folder in the place of a file's."""
    files = [file for file in path.parent.iterdir() if file.is_file() and file != path]
    if files:
        shutil.copyfile(rng.choice(files), path)
