"""Sources: the formats and catalogues that collections are loaded from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from quantum_rerank.datasets.collection import Collection, text_counts
from quantum_rerank.datasets.config import DataConfig
from quantum_rerank.datasets.judgments import Judgments
from quantum_rerank.datasets.raw_lines import uncompressed_name
from quantum_rerank.datasets.unmatched import require_matched
from quantum_rerank.paths import expanded


class CollectionTexts(NamedTuple):
    """Texts of a collection without its judgments.

    Attributes:
        corpus: Document id -> text.
        queries: Query id -> text.
        skipped: Counts of texts that were left out or changed, as sentence -> count.
    """

    corpus: Mapping[str, str]
    queries: Mapping[str, str]
    skipped: Mapping[str, int]


class Source(ABC):
    """A format or a catalogue that collections are loaded from.

    A new source is a subclass with a method `load`, and an entry in `SOURCES`:

        class Trees(Source):
            def load(self, argument: str, config: DataConfig) -> Collection:
                return checked(Collection(domain=self.domain(argument), ...))


        SOURCES.register("trees", Trees)  # `trees:oak` calls `load("oak", config)`

    Args:
        name: Name of the source in `SOURCES`, which is the part of a spec before the colon.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def load(self, argument: str, config: DataConfig) -> Collection:
        """Load one collection.

        Args:
            argument: Part of the spec after the colon, such as a path.
            config: Settings of the data, such as the names of columns.

        Raises:
            DataError: The collection does not exist, or is invalid.
            MissingPackage: An optional package is not installed.
        """

    def domain(self, argument: str) -> str:
        """Return the domain of a collection, which need not exist yet."""
        return f"{self.name}:{argument}"

    def texts(self, argument: str, config: DataConfig) -> CollectionTexts:
        """Load the texts of a collection.

        Override it where unjudged queries have texts too, or texts need no judgments.

        Args:
            argument: Part of the spec after the colon.
            config: Settings of the data.

        Raises:
            DataError: The texts do not exist, or are invalid.
        """
        collection = self.load(argument, config)
        require_matched(collection, config.max_unmatched_judgments)
        return CollectionTexts(collection.corpus, collection.queries, collection.skipped)


class FileSource(Source):
    """A source of files. The domain is the name of a file without its endings."""

    def domain(self, argument: str) -> str:
        """See `Source.domain`."""
        return super().domain(uncompressed_name(Path(argument)).stem)


class FolderSource(Source):
    """A source of folders. The domain is the name of a folder, however its path is written."""

    def domain(self, argument: str) -> str:
        """See `Source.domain`."""
        return super().domain(expanded(argument).resolve().name)


class JudgedFolder(FolderSource):
    """A source of folders with files of texts and files of judgments."""

    @abstractmethod
    def judgment_files(self, root: Path) -> Sequence[Path]:
        """Return the files of judgments of a folder.

        Raises:
            DataError: The folder lacks files; the message has all of them.
        """

    @abstractmethod
    def read_texts(self, root: Path) -> tuple[dict[str, str], dict[str, str]]:
        """Return corpus and queries of a folder, each as id -> text.

        Raises:
            DataError: A file is missing or invalid.
        """

    @abstractmethod
    def read_judgments(self, files: Sequence[Path]) -> Judgments:
        """Read files of judgments.

        Raises:
            DataError: A file is invalid.
        """

    def load(self, argument: str, config: DataConfig) -> Collection:
        """Load a folder. Two or more files of splits are the official splits.

        With them, queries judged in other files are left out. Otherwise all judged queries are
        pooled and split by seed.

        See `Source.load`.
        """
        root = expanded(argument)
        files = self.judgment_files(root)
        texts = self.read_texts(root)
        return self.read_judgments(files).collection(self.domain(argument), *texts)

    def texts(self, argument: str, config: DataConfig) -> CollectionTexts:
        """Load the corpus and all queries of a folder, which needs no judgments.

        See `Source.texts`.
        """
        corpus, queries = self.read_texts(expanded(argument))
        return CollectionTexts(corpus, queries, text_counts(corpus, queries))
