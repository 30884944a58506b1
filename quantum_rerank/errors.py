"""Every error that this package raises on purpose.

    QuantumRerankError
    ├── ConfigError       a configuration or search space breaks its schema
    ├── DataError         a collection is missing, empty or contradicts itself
    ├── EmbeddingError    vectors are missing, of a wrong shape, or not finite
    ├── OutputError       a folder cannot be written, or holds something else
    ├── DivergedError     a loss became NaN or infinite, or grew beyond hope
    ├── SaturatedError    a model's affinities are all the same
    ├── BundleError       an exported model is cut off, altered or of another version
    ├── SearchError       the disk or the study failed while a search ran; exit code 1
    ├── FilesError        the files of trials cannot be written or read; exit code 1
    ├── MissingPackage    an optional dependency is not installed
    └── MissingExtra      an extra of this package is not installed

All of them are a user's to mend: a command prints the message without a
traceback and ends with exit code 2, where nothing else is said.

EncoderWarning is no error: texts are ranked, though an encoder does not read all of them.
"""

from __future__ import annotations

from collections.abc import Sequence

USAGE_EXIT_CODE = 2


class QuantumRerankError(Exception):
    """Base of the tree above."""

    exit_code = USAGE_EXIT_CODE


class _Problems(QuantumRerankError):
    """An error that shows everything that is wrong at once."""

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


class ConfigError(_Problems):
    """A configuration or a search space breaks its schema."""


class DataError(_Problems):
    """A collection is missing, empty or contradicts itself."""


class EmbeddingError(QuantumRerankError):
    """Vectors are missing, of a wrong shape, or not finite."""


class EncoderWarning(UserWarning):
    """An encoder cuts texts that are too long for it, or does not know their characters."""


class OutputError(QuantumRerankError):
    """A folder cannot be written, or already holds something else."""


class DivergedError(QuantumRerankError):
    """A training produced NaN or infinity, or its loss grew beyond hope."""


class SaturatedError(QuantumRerankError):
    """A model's affinities are all the same: nothing can be ranked by them."""


class BundleError(QuantumRerankError):
    """An exported model is cut off, altered or of another version."""


class SearchError(QuantumRerankError):
    """The disk or the study failed while a search ran."""

    exit_code = 1


class FilesError(QuantumRerankError):
    """The files of trials cannot be written or read."""

    exit_code = 1


class MissingPackage(QuantumRerankError):
    """An optional dependency is not installed."""

    def __init__(
        self, package: str, extra: str | None, purpose: str, pip_options: str = ""
    ) -> None:
        super().__init__(package, extra, purpose, pip_options)  # as they are: it can be pickled

    def __str__(self) -> str:
        package, extra, purpose, pip_options = self.args
        or_extra = f", or install this project with its extra `{extra}`" if extra else ""
        return (
            f"{purpose} needs the package `{package}`, which is not installed. "
            f"Run `pip install {pip_options}{package}`{or_extra}."
        )


class MissingExtra(QuantumRerankError):
    """An extra of this package is not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(package, extra, purpose)  # as they are: it can be pickled

    def __str__(self) -> str:
        package, extra, purpose = self.args
        return (
            f"{purpose} needs the extra `{extra}`, of which the package `{package}` is not "
            f"installed. Run `pip install 'quantum-rerank[{extra}]'`, or "
            f"`pip install -e '.[{extra}]'` in a checkout."
        )
