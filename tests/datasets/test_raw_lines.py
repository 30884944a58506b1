from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from quantum_rerank.datasets import raw_lines as module
from quantum_rerank.datasets.raw_lines import file_among, raw_lines, uncompressed_name
from quantum_rerank.errors import DataError

TEXT = "a\r\nü\n\nc".encode()
LINES = [(1, b"a\r\n"), (2, "ü\n".encode()), (3, b"\n"), (4, b"c")]


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_lines_of_every_compression_are_read(
    tmp_path: Path, pack: Callable[[bytes], bytes], mark: bytes
) -> None:
    (tmp_path / "lines").write_bytes(pack(mark + TEXT))
    assert list(raw_lines(tmp_path / "lines")) == LINES


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le"])
def test_wide_texts_with_a_byte_order_mark_become_utf_8(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "lines").write_bytes(gzip.compress(("\ufeff" + TEXT.decode()).encode(encoding)))
    assert list(raw_lines(tmp_path / "lines")) == LINES


def test_a_text_that_begins_with_the_letters_of_bzip2_is_text(tmp_path: Path) -> None:
    (tmp_path / "lines").write_bytes(b"BZh is how bzip2 begins")
    assert list(raw_lines(tmp_path / "lines")) == [(1, b"BZh is how bzip2 begins")]


def test_an_empty_file_has_no_lines(tmp_path: Path) -> None:
    for content in (b"", gzip.compress(b"")):
        (tmp_path / "lines").write_bytes(content)
        assert list(raw_lines(tmp_path / "lines")) == []


def zipped(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("clicks.csv", content)
    return file.getvalue()


def tarred(content: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        member = tarfile.TarInfo("clicks.csv")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def as_array(content: bytes) -> bytes:
    file = io.BytesIO()
    np.save(file, np.frombuffer(content, dtype=np.uint8))
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (zipped(TEXT), r"is a ZIP archive \(or \.xlsx, \.ods\)\. Unpack it, or export"),
        (tarred(TEXT), "is a tar archive"),
        (gzip.compress(tarred(TEXT)), "the compressed file is a tar archive"),
        (gzip.compress(zipped(TEXT)), "the compressed file is a ZIP archive"),
        (gzip.compress(gzip.compress(TEXT)), "is compressed twice"),
        (as_array(TEXT), "is a NumPy array"),
        (b"%PDF-1.7\n", "is a PDF document"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "is an Office file"),
        (b"\x28\xb5\x2f\xfd", "is compressed by zstd"),
        (b"PAR1", "is a Parquet file"),
        (b"SQLite format 3\x00", "is an SQLite database"),
        (pickle.dumps({"a": 1}), "is a Python pickle, which is never read"),
        (TEXT.decode().encode("utf-16-le"), "is not text: it has zero bytes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "file",  # archives have times in them
)
def test_a_binary_file_is_refused_by_its_kind(tmp_path: Path, content: bytes, kind: str) -> None:
    (tmp_path / "lines").write_bytes(content)
    with pytest.raises(DataError, match=kind):
        list(raw_lines(tmp_path / "lines"))


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_truncated_compressed_file_is_refused_as_damaged(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    (tmp_path / "lines").write_bytes(pack("".join(f"{n}\n" for n in range(9999)).encode())[:-900])
    with pytest.raises(DataError, match="the compressed data are damaged"):
        list(raw_lines(tmp_path / "lines"))


def test_a_byte_order_mark_of_utf_16_over_other_bytes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lines").write_bytes(b"\xff\xfea")
    with pytest.raises(DataError, match="begins as utf-16-le, but is not"):
        list(raw_lines(tmp_path / "lines"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_huge_decompressed_line_is_refused_before_it_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    monkeypatch.setattr(module, "MAX_LINE", 2**20)
    (tmp_path / "lines").write_bytes(gzip.compress(("a\n" + " " * 2**21).encode(encoding)))
    with pytest.raises(DataError, match="line 2: longer than the limit of 1 MiB"):
        list(raw_lines(tmp_path / "lines"))


def test_the_ending_of_a_compression_is_removed_from_a_name() -> None:
    names = ["a.tsv.gz", "a.tsv.XZ", "a.tsv", "a.gz"]
    assert [uncompressed_name(Path(name)).name for name in names] == [
        "a.tsv",
        "a.tsv",
        "a.tsv",
        "a",
    ]


def test_a_folder_must_have_exactly_one_of_several_files(tmp_path: Path) -> None:
    assert file_among(tmp_path, "a.tsv", "a.jsonl") is None
    (tmp_path / "a.jsonl.gz").touch()
    assert file_among(tmp_path, "a.tsv", "a.jsonl") == tmp_path / "a.jsonl.gz"
    (tmp_path / "a.tsv").touch()
    with pytest.raises(DataError, match=r"has a\.tsv and a\.jsonl\.gz, but must have one"):
        file_among(tmp_path, "a.tsv", "a.jsonl")
