"""What is found out about the data before step 0, once a run, and kept with it: bad examples, then statistics."""

from __future__ import annotations

import dataclasses

from absl import logging

from framework import files
from framework.data.bad_examples import BadExample, count_kinds
from framework.data.checking import skipped_examples
from framework.data.pipeline import Pipeline
from framework.data.statistics import Statistics
from framework.training.run_directory import RunDirectory


def prepare(pipeline: Pipeline, directory: RunDirectory) -> Pipeline:
    """The pipeline without its bad examples, and with what it has learned from the others.

    Raises:
        BadExampleError: More are bad than the pipeline allows to skip.
    """
    if directory.config is not None and directory.statistics.exists():
        return prepared(pipeline, directory)
    if pipeline.bad_examples.on_error == "skip":
        found = skipped_examples(pipeline)
        files.write_json(
            directory.bad_examples,
            {phase: [dataclasses.asdict(example) for example in bad] for phase, bad in found.items()},
        )
        for phase, bad in found.items():
            logging.warning(
                "%d examples of the %s split are skipped: %s. All of them: %s",
                len(bad),
                phase,
                ", ".join(f"{count} {kind}" for kind, count in count_kinds(bad).items()),
                directory.bad_examples,
            )
        pipeline = _without(pipeline, found)
    learned = pipeline.with_statistics()
    learned.statistics.save(directory.statistics)
    return learned


def prepared(pipeline: Pipeline, directory: RunDirectory) -> Pipeline:
    """The same, as an earlier call of `prepare` has left it."""
    return _without(pipeline, skipped(directory)).with_statistics(Statistics.load(directory.statistics))


def skipped(directory: RunDirectory) -> dict[str, list[BadExample]]:
    """The bad examples that a run leaves out, by phase."""
    if not directory.bad_examples.exists():
        return {}
    found = files.read_json(directory.bad_examples)
    return {phase: [BadExample(**example) for example in bad] for phase, bad in found.items()}


def _without(pipeline: Pipeline, found: dict[str, list[BadExample]]) -> Pipeline:
    return pipeline.without_bad({phase: [example.index for example in bad] for phase, bad in found.items()})
