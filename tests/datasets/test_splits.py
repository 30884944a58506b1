from __future__ import annotations

from collections.abc import Mapping

import pytest

from quantum_rerank.datasets import Collection, Split, repeated_texts, split_by_query
from quantum_rerank.errors import DataError


def collection_of(n: int, official: Mapping[str, frozenset[str]] | None = None) -> Collection:
    queries = {f"q{i}": f"query {i}" for i in range(n)}
    qrels = {query: {"d": 1} for query in queries}
    return Collection("trees", {"d": "text"}, queries, qrels, official or {})


def parts(split: Split) -> list[set[str]]:
    return [set(split.train), set(split.validation), set(split.test)]


@pytest.mark.parametrize("n", [5, 17, 100])
def test_the_roles_are_disjoint_and_complete(n: int) -> None:
    split = split_by_query(collection_of(n), 0.2, 0.2, seed=1)
    train, validation, test = parts(split)
    assert train | validation | test == {f"q{i}" for i in range(n)}
    assert len(train) + len(validation) + len(test) == n


def test_the_fractions_are_of_all_queries() -> None:
    split = split_by_query(collection_of(100), 0.3, 0.2, seed=1)
    assert [len(part) for part in parts(split)] == [50, 30, 20]


def test_the_same_seed_gives_the_same_split_and_another_seed_another() -> None:
    first, again, other = (split_by_query(collection_of(50), 0.2, 0.2, seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_the_order_of_the_queries_does_not_matter() -> None:
    collection = collection_of(50)
    backwards = Collection(
        collection.domain,
        collection.corpus,
        dict(reversed(collection.queries.items())),
        collection.qrels,
    )
    assert split_by_query(collection, 0.2, 0.2, 1) == split_by_query(backwards, 0.2, 0.2, 1)


@pytest.mark.parametrize("n", [1, 2])
def test_a_collection_that_is_too_small_is_refused_with_its_empty_roles(n: int) -> None:
    with pytest.raises(DataError, match=f"trees: {n} judged queries leave none for"):
        split_by_query(collection_of(n), 0.2, 0.2, seed=1)


@pytest.mark.parametrize(("validation", "test"), [(0.5, 0.5), (0.9, 0.9)])
def test_fractions_that_leave_nothing_to_train_on_are_refused(
    validation: float, test: float
) -> None:
    with pytest.raises(DataError, match="train"):
        split_by_query(collection_of(40), validation, test, seed=1)


def test_official_splits_are_respected() -> None:
    official = {
        "train": frozenset(f"q{i}" for i in range(10)),
        "dev": frozenset({"q10", "q11"}),
        "test": frozenset({"q12", "q13", "q14"}),
    }
    split = split_by_query(collection_of(15, official), 0.2, 0.2, seed=1)
    assert parts(split) == [set(official["train"]), set(official["dev"]), set(official["test"])]


def test_without_an_official_dev_split_validation_queries_are_drawn_from_train() -> None:
    official = {
        "train": frozenset(f"q{i}" for i in range(10)),
        "test": frozenset({"q10", "q11"}),
    }
    train, validation, test = parts(split_by_query(collection_of(12, official), 0.2, 0.5, seed=1))
    assert test == official["test"]
    assert train | validation == official["train"]
    assert len(validation) == 2
    assert not train & validation


def test_an_empty_official_dev_split_is_drawn_from_train() -> None:
    official = {
        "train": frozenset(f"q{i}" for i in range(10)),
        "dev": frozenset[str](),
        "test": frozenset({"q10"}),
    }
    train, validation, _ = parts(split_by_query(collection_of(11, official), 0.2, 0.2, seed=1))
    assert train | validation == official["train"]
    assert validation


def test_an_empty_official_test_split_is_refused() -> None:
    official = {"train": frozenset({"q0", "q1", "q2", "q3", "q4"}), "test": frozenset[str]()}
    with pytest.raises(DataError, match="leave none for test"):
        split_by_query(collection_of(5, official), 0.2, 0.2, seed=1)


@pytest.mark.parametrize(
    "official",
    [
        {},
        {"train": frozenset(f"q{i}" for i in range(20)), "test": frozenset({"q20", "q21"})},
        {
            "train": frozenset(f"q{i}" for i in range(20)),
            "dev": frozenset({"q20", "q21", "q22"}),
            "test": frozenset({"q23", "q24"}),
        },
    ],
)
def test_another_division_has_the_same_test_queries(official: dict[str, frozenset[str]]) -> None:
    n_queries = len(frozenset[str]().union(*official.values())) or 40
    collection = collection_of(n_queries, official)
    splits = [split_by_query(collection, 0.2, 0.2, 1, seed) for seed in (None, 2, 2, 3)]
    first, second, again, third = map(parts, splits)
    assert second == again
    assert first[2] == second[2] == third[2]
    for train, validation, test in (second, third):
        assert not train & validation
        assert (train | validation) & test == set()
        assert train | validation == first[0] | first[1]
        assert len(validation) == len(first[1])
    assert len({frozenset(one[1]) for one in (first, second, third)}) == 3


def test_texts_of_an_earlier_role_are_counted_regardless_of_case() -> None:
    texts = {"a": "Oak leaf", "b": "elm", "c": " oak LEAF\n", "d": "ash", "e": "Ash", "f": "Elm"}
    qrels = {query: {"d": 1} for query in texts}
    split = Split(train=("a", "b"), validation=("c", "d"), test=("e", "f"))
    collection = Collection("trees", {"d": "text"}, texts, qrels)
    own = {"trees": collection}
    assert repeated_texts(own, {"trees": split})["trees"] == {
        "validation queries with a text that is trained on too": 1,
        "test queries with a text that is trained or chosen on too": 2,
    }
    apart = Split(train=("a", "b", "f"), test=("d",))
    assert repeated_texts(own, {"trees": apart}) == {"trees": {}}


def test_test_texts_that_another_collection_trains_on_are_counted() -> None:
    collections = {
        name: Collection(name, {"d": "text"}, {"q": text, "r": "ash"}, {"q": {"d": 1}})
        for name, text in (("seen", "Oak"), ("unseen", "oak "))
    }
    splits = {"seen": Split(train=("q",)), "unseen": Split(test=("q", "r"))}
    assert repeated_texts(collections, splits) == {
        "seen": {},
        "unseen": {"test queries with a text that is trained or chosen on too": 1},
    }
