"""The errors of this package.

    QuantumRerankError
    ├── ConfigError       invalid configuration or search space
    ├── DataError         missing, empty or contradictory collection, or invalid argument
    ├── EmbeddingError    missing vectors, or vectors of a wrong shape or that are not finite
    ├── OutputError       file or folder that cannot be written, or that exists already
    ├── DivergedError     loss that became NaN or infinite, or grew without bound
    ├── SaturatedError    model that gives all documents the same affinity
    ├── BundleError       exported model or index that is damaged or of another version
    ├── SearchError       failure of the disk or of the study storage during a search
    ├── FilesError        files of trials that cannot be written or read
    ├── MissingPackage    optional dependency that is not installed
    └── MissingExtra      extra of this package that is not installed

The user can fix the cause of each error. A command prints the message without a traceback and
exits with code 2, or with code 1 for SearchError and FilesError.

EncoderWarning is a warning: an encoder does not read all of a text, which is ranked nevertheless.
"""

from __future__ import annotations

from collections.abc import Sequence

USAGE_EXIT_CODE = 2


def first_line(error: BaseException) -> str:
    """Return the first line of an error without a full stop; its type if it has no text.

    >>> first_line(OSError("No space left.\\nTraceback ...")), first_line(KeyError())
    ('No space left', 'KeyError')
    """
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


class QuantumRerankError(Exception):
    """The base class of all errors of this package."""

    exit_code = USAGE_EXIT_CODE


class _Problems(QuantumRerankError):
    """An error with one or more problems, which are all reported at once."""

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


class ConfigError(_Problems):
    """A configuration or a search space is invalid."""


class DataError(_Problems):
    """A collection is missing, empty or contradictory, or an argument is invalid."""


class EmbeddingError(QuantumRerankError):
    """Vectors are missing, have a wrong shape, or are not finite."""


class EncoderWarning(UserWarning):
    """An encoder truncates texts that are too long, or does not know their characters."""


class OutputError(QuantumRerankError):
    """A file or folder cannot be written, or exists already."""


class DivergedError(QuantumRerankError):
    """The loss of a training became NaN or infinite, or grew without bound."""


class SaturatedError(QuantumRerankError):
    """A model gives all documents the same affinity, which cannot rank them."""


class BundleError(QuantumRerankError):
    """An exported model or an index is damaged, or of another version."""


class SearchError(QuantumRerankError):
    """The disk or the study storage failed during a search."""

    exit_code = 1


class FilesError(QuantumRerankError):
    """The files of trials cannot be written or read."""

    exit_code = 1


class MissingPackage(QuantumRerankError):
    """An optional dependency is not installed.

    Args:
        package: The name of the package on PyPI.
        extra: The extra of this project that installs it, if there is one.
        purpose: The subject of the message, such as "The pictures".
        pip_options: Options of `pip install`, followed by a space.
    """

    def __init__(
        self, package: str, extra: str | None, purpose: str, pip_options: str = ""
    ) -> None:
        super().__init__(package, extra, purpose, pip_options)  # so that it can be pickled

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
