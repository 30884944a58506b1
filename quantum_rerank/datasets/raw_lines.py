"""Lines of text files, decompressed and encoded as UTF-8. Binary files are refused by their kind.

Compression by gzip, bzip2 or xz is detected by a file's first bytes, regardless of its name, and
UTF-16 or UTF-32 by a byte order mark. Lines are read one by one, and the length of a line is
limited, so that a small compressed file cannot fill the memory with one line. Nothing is ever
unpickled.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from quantum_rerank.errors import DataError
from quantum_rerank.regular_files import open_regular

MAX_LINE = 2**28
"""Longest line, in bytes, or in characters of UTF-16."""

COMPRESSED = (".gz", ".bz2", ".xz")
"""Endings of the names of compressed files."""

_HEAD = 512  # bytes by which a kind of file is recognised: a tar archive is marked at byte 257
_OPENERS: dict[bytes, Callable[[Any], Any]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}
_BZIP2 = re.compile(rb"BZh[1-9]1AY&SY")  # a text may begin with `BZh`
# UTF-32 comes first, since its mark begins with that of UTF-16.
_WIDE = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_EXPORT = "Export it as CSV or JSONL"
_UNPACK = "Unpack it first"
_KINDS: dict[bytes, tuple[str, str]] = {
    b"PK\x03\x04": ("a ZIP archive (or .xlsx, .ods)", "Unpack it, or export the table as CSV"),
    b"PK\x05\x06": ("an empty ZIP archive", _UNPACK),
    b"%PDF-": ("a PDF document", _EXPORT),
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": ("an Office file (.xls or .doc)", _EXPORT),
    b"\x28\xb5\x2f\xfd": ("compressed by zstd", f"{_UNPACK}, or compress it by gzip, bzip2 or xz"),
    b"\x04\x22\x4d\x18": ("compressed by lz4", f"{_UNPACK}, or compress it by gzip, bzip2 or xz"),
    b"\x1f\x9d": ("compressed by compress (.Z)", _UNPACK),
    b"7z\xbc\xaf\x27\x1c": ("a 7-Zip archive", _UNPACK),
    b"Rar!\x1a\x07": ("a RAR archive", _UNPACK),
    b"PAR1": ("a Parquet file", "Read a table as `parquet:FILE`, or export it as CSV or JSONL"),
    b"ARROW1": ("an Arrow file", _EXPORT),
    b"\x93NUMPY": ("a NumPy array", "Give vectors by `data.encoder: npy:FOLDER`"),
    b"SQLite format 3\x00": ("an SQLite database", _EXPORT),
    b"\x89HDF\r\n\x1a\n": ("an HDF5 file", _EXPORT),
    b"Obj\x01": ("an Avro file", _EXPORT),
} | {
    b"\x80" + bytes([protocol]): (
        "a Python pickle, which is never read because it can run any code",
        _EXPORT,
    )
    for protocol in (2, 3, 4, 5)
}


def raw_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the number, from 1, and the bytes of each line, without a byte order mark.

    The bytes are UTF-8 if the file is UTF-8, UTF-16 or UTF-32. A file without a mark may have
    other bytes; see `decoded`.

    Args:
        path: File, which may be compressed.

    Raises:
        DataError: The file cannot be read, is damaged, is not text, or has a line longer than
            MAX_LINE.
    """
    try:
        with open_regular(path, follow_link=True) as stored:
            yield from _numbered(_unpacked(stored, path), path)
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: the compressed data are damaged: {error}.") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}.") from None
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: the file begins as {error.encoding}, but is not valid: {error.reason}. "
            "Convert the file to UTF-8."
        ) from None


def decoded(raw: bytes) -> str:
    """Decode a line as UTF-8.

    Raises:
        DataError: A byte is not UTF-8. The message names it.
    """
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = raw[error.start]
        raise DataError(f"the byte {byte:#04x} is not UTF-8 text. Convert the file.") from None


def uncompressed_name(path: Path) -> Path:
    """Return a path without the ending of a compression.

    >>> uncompressed_name(Path("logs/clicks.csv.gz")).name, uncompressed_name(Path("a.csv")).name
    ('clicks.csv', 'a.csv')
    """
    return path.with_suffix("") if path.suffix.lower() in COMPRESSED else path


def file_among(root: Path, *names: str) -> Path | None:
    """Find the file of a folder that has one of several names, compressed or not.

    Args:
        root: Folder.
        *names: Names without the ending of a compression.

    Returns:
        Path of the file, or None if there is none.

    Raises:
        DataError: The folder has several such files.
    """
    endings = ("", *COMPRESSED)
    files = [root / f"{name}{end}" for name in names for end in endings]
    existing = [path for path in files if path.is_file()]
    if len(existing) > 1:
        listed = " and ".join(path.name for path in existing)
        raise DataError(f"`{root}` has {listed}, but must have one of them.")
    return existing[0] if existing else None


def _unpacked(stored: Any, path: Path) -> Any:
    """Return the file itself, or a reader of its decompressed content."""
    head = stored.peek(_HEAD)[:_HEAD]
    opener = _opener(head)
    if opener is None:
        _refuse_binary(head, f"{path}: the file is")
        return stored
    inner = opener(stored)
    head = inner.peek(_HEAD)[:_HEAD]
    if _opener(head):
        raise DataError(f"{path}: the file is compressed twice. Unpack it first.")
    _refuse_binary(head, f"{path}: the compressed file is")
    return inner


def _opener(head: bytes) -> Callable[[Any], Any] | None:
    if head.startswith(b"BZh") and not _BZIP2.match(head):
        return None
    return next((open_ for magic, open_ in _OPENERS.items() if head.startswith(magic)), None)


def _refuse_binary(head: bytes, subject: str) -> None:
    for magic, (kind, way_out) in _KINDS.items():
        if head.startswith(magic):
            raise DataError(f"{subject} {kind}. {way_out}.")
    if head[257:262] == b"ustar":
        raise DataError(f"{subject} a tar archive. {_UNPACK}.")
    if b"\x00" in head and not head.startswith(tuple(_WIDE)):
        raise DataError(f"{subject} not text: it has zero bytes. Convert it to UTF-8.")


def _numbered(file: Any, path: Path) -> Iterator[tuple[int, bytes]]:
    number = 0
    for number, line in enumerate(_lines(file), start=1):
        if len(line) > MAX_LINE:
            raise DataError(
                f"{path}, line {number}: longer than the limit of {MAX_LINE // 2**20} MiB. "
                "Check that lines end with a line feed."
            )
        yield number, line.removeprefix(codecs.BOM_UTF8) if number == 1 else line


def _lines(file: Any) -> Iterator[bytes]:
    """Yield lines as UTF-8, each with at most MAX_LINE + 1 bytes or wide characters."""
    head = file.peek(4)
    encoding = next((name for mark, name in _WIDE.items() if head.startswith(mark)), None)
    if encoding is None:
        while raw := file.readline(MAX_LINE + 1):
            yield raw
        return
    with io.TextIOWrapper(file, encoding, newline="\n") as text:
        while line := text.readline(MAX_LINE + 1):
            yield line.encode("utf-8")
