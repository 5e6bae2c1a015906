"""What is found out about the data before step 0, once a run, and kept with it.

Bad examples first, then what is learned from the others, and the profile with which new data can be compared.
"""

from __future__ import annotations

import dataclasses

from absl import logging

from framework import files
from framework.data.bad_examples import BadExample, counted
from framework.data.checking import skipped_examples, without
from framework.data.phases import TRAIN
from framework.data.pipeline import Pipeline
from framework.data.profile import profile_source
from framework.data.statistics import Statistics
from framework.training.run_directory import RunDirectory


def prepare(pipeline: Pipeline, directory: RunDirectory) -> Pipeline:
    """The pipeline without its bad examples, with what it has learned from the others and what these look like.

    Raises:
        BadExampleError: More are bad than the pipeline allows to skip.
    """
    # The statistics are written last: where they are, the rest is.
    if directory.config is not None and directory.statistics.exists():
        return prepared(pipeline, directory)
    if pipeline.bad_examples.on_error == "skip":
        pipeline = without(pipeline, _find_bad(pipeline, directory))
    else:  # what an attempt that came to nothing may have left of other data or settings
        directory.bad_examples.unlink(missing_ok=True)
    learned = pipeline.with_statistics()
    learned.profile = profile_source(learned.require_source(TRAIN), learned.features, learned.task)
    files.write_json(directory.profile, learned.profile)
    learned.statistics.save(directory.statistics)
    return learned


def prepared(pipeline: Pipeline, directory: RunDirectory) -> Pipeline:
    """The same, as an earlier call of `prepare` has left it."""
    learned = without(pipeline, skipped(directory)).with_statistics(Statistics.load(directory.statistics))
    if directory.profile.exists():  # a copy of a run may well have been made without it
        learned.profile = files.read_json(directory.profile)
    return learned


def _find_bad(pipeline: Pipeline, directory: RunDirectory) -> dict[str, list[BadExample]]:
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
            counted(bad),
            directory.bad_examples,
        )
    return found


def skipped(directory: RunDirectory) -> dict[str, list[BadExample]]:
    """The bad examples that a run leaves out, by phase."""
    if not directory.bad_examples.exists():
        return {}
    found = files.read_json(directory.bad_examples)
    return {phase: [BadExample(**example) for example in bad] for phase, bad in found.items()}
