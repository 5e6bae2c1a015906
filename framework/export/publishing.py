"""What is added to an export once it is proven: further formats, the figures of the proof, the model card."""

from __future__ import annotations

import dataclasses
import pathlib
import shutil
import threading
from collections.abc import Mapping
from typing import Any

from absl import logging

from framework import files
from framework.data.phases import TRAIN, VALIDATION
from framework.data.pipeline import Pipeline
from framework.export.card import write_card
from framework.export.formats import FormatError, convert_all, measure_formats, pipeline_gate, representative_examples
from framework.export.formats.result import FOLDER
from framework.export.held_out import BATCH_SIZES, Arrays
from framework.export.options import Exports
from framework.export.plain_json import plain_json
from framework.export.proof import Proven
from framework.export.validating import Validated
from framework.export.versions import MANIFEST


def complete(
    directory: pathlib.Path,
    proven: Proven,
    exports: Exports,
    pipeline: Pipeline | None,
    requests: Mapping[str, Arrays],
    interrupted: threading.Event | None = None,
) -> None:
    """Makes the formats, and writes manifest and card into an export that isn't published yet.

    Args:
        directory: The export.
        proven: What its proof has shown.
        exports: Which formats.
        pipeline: Where real examples come from.
        requests: One real example for each signature, `{signature: {input: [1, ...]}}`.
        interrupted: When another thread sets it, converting is given up.

    Raises:
        FormatInterrupted: It was set.
    """
    manifest = {
        **files.read_json(directory / MANIFEST),
        **_shown(proven),
        "warm_up": {"batch_sizes": list(exports.warmup)} if exports.warmup else None,
        **_converted(directory, exports, pipeline, interrupted),
    }
    manifest = plain_json(manifest)
    files.write_json(directory / MANIFEST, manifest)
    write_card(directory, manifest, requests)


def _shown(proven: Proven) -> dict[str, Any]:
    """What a manifest says of a proof."""
    validated = proven.validated
    if isinstance(validated, Validated):
        metrics: dict[str, Any] = dataclasses.asdict(validated)
        confusion, slices = metrics.pop("confusion"), metrics.pop("slices")
    else:
        metrics, confusion, slices = {"not_computed": validated}, {}, {}
    return {
        "sizes": dict(proven.sizes),
        "largest_difference": dict(proven.largest_difference),
        "proof": {
            "batch_sizes": list(BATCH_SIZES),
            "not_called": dict(proven.not_called),
            "metrics": metrics,
            "seconds": round(proven.seconds, 3),
        },
        "confusion": confusion,
        "slices": slices,
    }


def _converted(
    directory: pathlib.Path, exports: Exports, pipeline: Pipeline | None, interrupted: threading.Event | None
) -> dict[str, Any]:
    """Makes the further formats; one that can't be had doesn't keep the export from being published."""
    if not exports.formats:
        return {"formats": []}
    shutil.rmtree(directory / FOLDER, ignore_errors=True)  # of a process that died over it
    examples = gate = None
    if pipeline is not None:
        examples = representative_examples(pipeline)
        phase = VALIDATION if pipeline.has(VALIDATION) else TRAIN
        gate = pipeline_gate(pipeline, phase=phase, max_drop=exports.format_max_drop)
    results = convert_all(directory, exports.formats, representative=examples, gate=gate, interrupted=interrupted)
    refused = {name: str(error) for name, error in results.items() if isinstance(error, FormatError)}
    for name, error in refused.items():
        logging.warning("The export is published without the format %r. %s", name, error)
    rows = measure_formats(directory, examples=examples)
    return {"formats": [dataclasses.asdict(row) for row in rows], "formats_refused": refused}
