"""Fingerprints of encoders, by which cached vectors and bundles are matched to them."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property

from quantum_rerank.embeddings.roles import ModelRoles, model_roles
from quantum_rerank.embeddings.settings import EncoderSettings, Role
from quantum_rerank.embeddings.text_models import MODEL_FILE_SUFFIXES, TextModel
from quantum_rerank.regular_files import open_regular

_BLOCK = 2**24  # bytes

# Code in a folder is not downloaded, and only run if a user allows it; it determines vectors then.
_HASHED_SUFFIXES = (*MODEL_FILE_SUFFIXES, ".py")


class EncoderFingerprint:
    """A hash of all that determines the vectors of an encoder.

    Args:
        model: Model, whose folder is read at the first use.
        settings: Prompts of the encoder; other settings do not change its vectors.
    """

    def __init__(self, model: TextModel, settings: EncoderSettings) -> None:
        self._model = model
        self._settings = settings

    @cached_property
    def value(self) -> str:
        """SHA-256 of the model's weights and settings, regardless of its folder, and its prompts.

        If no text gets a prompt, it is the hash of the files only.
        """
        if not self._has_roles:
            return self._files
        prompts = json.dumps([self._prompt(role) for role in Role])
        return hashlib.sha256(f"{self._files} {prompts}".encode()).hexdigest()

    def of_role(self, role: Role) -> str:
        """Return the fingerprint of the vectors of a role, equal for roles with equal vectors."""
        return f"{self.value} {role}" if self._has_roles else self.value

    @cached_property
    def _files(self) -> str:
        digest, folder = hashlib.sha256(), self._model.folder
        for file in sorted(folder.rglob("*")):
            if file.suffix in _HASHED_SUFFIXES and file.is_file():
                digest.update(file.relative_to(folder).as_posix().encode())
                with open_regular(file, follow_link=True) as content:
                    while block := content.read(_BLOCK):
                        digest.update(block)
        return digest.hexdigest()

    @cached_property
    def _has_roles(self) -> bool:
        """True if a text of some role may have another vector than the bare text."""
        roles = self._roles
        return roles.routed or roles.has_default or any(self._prompt(role) != "" for role in Role)

    @cached_property
    def _roles(self) -> ModelRoles:
        return model_roles(self._model.folder)

    def _prompt(self, role: Role) -> str | None:
        """Return the configured prompt of a role, or None for the model's."""
        prompt = self._settings.prompt(role)
        return "" if prompt is None and role not in self._roles.prompted else prompt
