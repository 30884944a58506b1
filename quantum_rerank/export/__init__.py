"""Export of trained models as bundles: folders that can be checked and loaded anywhere."""

from quantum_rerank.export.bundle import (
    ExportedModel,
    bundle_in,
    export_model,
    read_bundle,
    write_bundle,
)
from quantum_rerank.export.manifest import Example, Manifest

__all__ = [
    "Example",
    "ExportedModel",
    "Manifest",
    "bundle_in",
    "export_model",
    "read_bundle",
    "write_bundle",
]
