"""Trained models as folders that can be checked and loaded anywhere."""

from quantum_rerank.export.bundle import (
    Example,
    Manifest,
    bundle_in,
    export_model,
    read_bundle,
    write_bundle,
)

__all__ = ["Example", "Manifest", "bundle_in", "export_model", "read_bundle", "write_bundle"]
