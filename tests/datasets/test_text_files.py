from __future__ import annotations

from pathlib import Path

import pytest

from quantum_rerank.datasets.text_files import each_line, shortened, texts_by_id
from quantum_rerank.errors import DataError


def write(folder: Path, content: bytes) -> Path:
    path = folder / "lines.txt"
    path.write_bytes(content)
    return path


def even(line: str) -> None:
    if int(line) % 2:
        raise DataError(f"{line} is odd.")


def test_lines_have_no_line_breaks_and_blank_lines_are_skipped(tmp_path: Path) -> None:
    lines: list[str] = []
    each_line(write(tmp_path, "\ufeffa\r\n\n  \nü \n".encode()), lines.append)
    assert lines == ["a", "ü "]


def test_all_invalid_lines_of_a_file_are_reported_together(tmp_path: Path) -> None:
    path = write(tmp_path, b"2\n3\n4\n\n\xff\n7\n")
    with pytest.raises(DataError) as caught:
        each_line(path, even)
    assert caught.value.problems == (
        f"{path}, line 2: 3 is odd.",
        f"{path}, line 5: the byte 0xff is not UTF-8 text. Convert the file.",
        f"{path}, line 6: 7 is odd.",
    )


def test_only_five_invalid_lines_are_shown_and_the_rest_is_counted(tmp_path: Path) -> None:
    path = write(tmp_path, b"1\n" * 1000)
    with pytest.raises(DataError) as caught:
        each_line(path, even)
    assert len(caught.value.problems) == 6
    assert caught.value.problems[-1] == f"{path}: 995 more lines are wrong."


def test_a_folder_is_refused_as_a_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        each_line(tmp_path, even)


def test_ids_keep_the_order_of_their_lines(tmp_path: Path) -> None:
    path = write(tmp_path, b"b 1\na 2\n")
    texts = texts_by_id(path, lambda line: (line[0], line[2:]))
    assert list(texts.items()) == [("b", "1"), ("a", "2")]


def test_an_empty_id_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 2: the id is empty"):
        texts_by_id(write(tmp_path, b"b 1\n  2\n"), lambda line: (line[0], line[2:]))


def test_a_shown_value_is_never_longer_than_its_limit() -> None:
    assert shortened("oak") == "'oak'"
    assert len(shortened("oak" * 1000)) == 60
