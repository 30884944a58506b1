from __future__ import annotations

from pathlib import Path

import pytest

from quantum_rerank.datasets.topics import read_topics
from quantum_rerank.errors import DataError


def read(folder: Path, content: str) -> dict[str, str]:
    (folder / "topics.txt").write_text(content, encoding="utf-8")
    return read_topics(folder / "topics.txt")


@pytest.mark.parametrize(
    "content",
    [
        "<top>\n<num> Number: 1\n<title> oak leaf\n\n<desc> Description:\nWhat?\n</top>\n"
        "<top>\n<num> Number : 2 </num>\n<title> Topic: elm &amp; ash\n<narr> No.\n</top>",
        '<?xml version="1.0"?><topics><topic number="1"><query>oak leaf</query></topic>'
        "<topic number='2' type=\"faceted\"><query>elm &amp; ash</query><desc>?</desc></topic>"
        "</topics>",
        '<topics task="2021"><topic number="1">\noak leaf\n</topic>\n'
        '<topic number="2"> elm &#38; ash </topic></topics>',
        "<top lang='en'>\n<num>1</num>\n<title>oak leaf</title>\n<desc>What?</desc>\n</top>\n"
        "<top lang='en'>\n<num>2</num>\n<title>elm <i>&amp;</i> ash</title>\n</top>",
        "<top>\n<num> Number: 1 </num>\n<query> oak leaf </query>\n<querytime> now </querytime>\n"
        "</top>\n<top>\n<num>2</num>\n<query>elm & ash</query></top>",
        "<top><num>1</num><EN-title>oak leaf</EN-title><EN-desc>What?</EN-desc></top>"
        "<top><num>2</num><EN-title>elm <![CDATA[&]]> ash</EN-title></top>",
        '<topic lang="en"><identifier>1</identifier><title>oak leaf</title></topic>'
        "<!-- <topic> --><topic><identifier>2</identifier><title>elm &amp; ash</title></topic>",
        "<topics><topic><number>1</number><query>oak leaf</query></topic>"
        "<topic><number>2</number><query>elm &amp;\nash</query></topic></topics>",
        "<TOPICS><TOPIC ID='1'><QUESTION>oak leaf</QUESTION></TOPIC>"
        "<TOPIC ID='2'><QUESTION>elm &amp; ash</QUESTION></TOPIC></TOPICS>",
    ],
    ids=[
        "classic TREC",
        "queries as in TREC-COVID and the Web Track",
        "texts as in Clinical Trials",
        "FIRE",
        "Microblog",
        "CLEF, older",
        "CLEF",
        "Decision",
        "questions",
    ],
)
def test_topics_of_every_campaign_are_read(tmp_path: Path, content: str) -> None:
    assert read(tmp_path, content) == {"1": "oak leaf", "2": "elm & ash"}


def test_a_title_takes_precedence_over_a_question(tmp_path: Path) -> None:
    topic = "<topic number='1'><question>what is it</question><title>oak</title></topic>"
    assert read(tmp_path, topic) == {"1": "oak"}


def test_a_microblog_number_is_preserved(tmp_path: Path) -> None:
    topic = "<top><num> Number: MB01 </num><title> BBC staff cuts </title></top>"
    assert read(tmp_path, topic) == {"MB01": "BBC staff cuts"}


def test_entities_are_refused_and_never_expanded(tmp_path: Path) -> None:
    laughs = '<!DOCTYPE t [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><topic number="1">&b;</topic>'
    with pytest.raises(DataError, match="declares entities, which are not expanded"):
        read(tmp_path, laughs)
    harmless = '<!DOCTYPE topics SYSTEM "x.dtd"><topic number="1">an &oak;</topic>'
    assert read(tmp_path, harmless) == {"1": "an &oak;"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1\toak\n", r"no topics: neither <top> nor <topic>.*must be called queries\.tsv"),
        ("<queries><query id='1'>oak</query></queries>", "neither <top> nor <topic>"),
        ("<topic number='1'><desc>oak</desc></topic>", "has no <num> or <title>"),
        ("<topic>oak</topic>", "the topic 'oak' has no number"),
        ("<topic number='1'></topic>", "has no"),
        ("<topic number='1'>a</topic><topic number='1'>b</topic>", "the topic 1 is repeated"),
        ("<topic number='1'>a", "1 topics begin with <topic>, but 0 end"),
    ],
)
def test_files_without_valid_topics_are_refused(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, content)
