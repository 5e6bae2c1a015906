"""From a model to a published version: written aside with what proves it, proven, and given its name."""

from __future__ import annotations

import concurrent.futures
import functools
import math
import pathlib
import threading
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from framework import files
from framework.data.phases import VALIDATION
from framework.data.pipeline import Pipeline
from framework.data.serving import DEFAULT, Receiver, receivers
from framework.export import fresh_process
from framework.export.answers import predictions_of
from framework.export.errors import ParityError
from framework.export.formats import check_formats
from framework.export.forward import model_inputs
from framework.export.held_out import Call, Requests
from framework.export.live import LiveModel
from framework.export.manifest import Moment, begin_manifest
from framework.export.method_names import METHODS, method_receiver, with_method_signature
from framework.export.options import Exports
from framework.export.parity import precision_of, tolerance_for
from framework.export.proof import Proven, Prover, thresholds_of
from framework.export.publishing import complete
from framework.export.saved_model import SavedModelWriter
from framework.export.scoring import Evaluation, NoScoresError
from framework.export.signatures import Signatures, build_signatures, plain_predictions
from framework.export.slices import as_slices
from framework.export.staged import Progress, Staged, keep_calls, list_staged, staged, staging
from framework.export.validating import TOLERANCES, Validation
from framework.export.versions import MANIFEST, locked, next_version, write_pointers
from framework.export.warm_up import prove_warm_up, write_warm_up
from framework.tasks.objective import Objective


class Exporter:
    """Publishes versions of one model.

        exporter = Exporter(model, pipeline)
        version = exporter.publish("export")

    The signatures are traced once; each export has the weights of the moment in which it is staged.

    Args:
        model: A built model.
        pipeline: Where the signatures come from; without one the model's inputs are the only way in, as
            `serving_default`, and the model's outputs are answered as they are.
        exports: What is exported, and how it is proven.
        objective: What decides which export is best, for the manifest.
        evaluation: How Keras evaluates the pipeline's validation split; without it no metrics are recomputed.
        configuration: Of the run, for the manifest.

    Raises:
        ValueError: There are slices and no validation split or nothing that says how it is evaluated, or a format needs
            a pipeline's examples.
    """

    def __init__(
        self,
        model: keras.Model,
        pipeline: Pipeline | None = None,
        *,
        exports: Exports | None = None,
        objective: Objective | None = None,
        evaluation: Evaluation | None = None,
        configuration: Mapping[str, Any] | None = None,
    ):
        self.model = model
        self.pipeline = pipeline
        self.exports = exports or Exports()
        self._objective = objective
        self._evaluation = evaluation
        self._configuration = configuration
        self._process = fresh_process.shared(self.exports.proof.modules)
        self._was_compared = False
        self._interrupted = threading.Event()
        if pipeline is None and any(kind.needs_examples for kind in check_formats(self.exports.formats)):
            raise ValueError("litert_int8 takes the ranges of activations from real examples: it needs a pipeline.")
        if self.exports.slices and not self._has_validation:
            raise ValueError("Slices are parts of the validation split, and there is none.")
        if self.exports.slices and evaluation is None:
            raise ValueError(
                "Metrics of slices are computed as Keras evaluates: say how, evaluation=Evaluation(batch_size, {...})."
            )

    @functools.cached_property
    def signatures(self) -> Signatures:
        """The traced signatures."""
        answers = self.exports.answers
        if self.pipeline is None:
            return build_signatures(self.model, self._ways_in, plain_predictions, answers=answers)
        task, resources = self.pipeline.task, self.pipeline.resources
        signatures = build_signatures(self.model, self._ways_in, predictions_of(task, answers), resources, answers)
        return with_method_signature(signatures, task) if self.exports.classify_regress else signatures

    @functools.cached_property
    def _ways_in(self) -> dict[str, Receiver]:
        if self.pipeline is None:
            return {DEFAULT: Receiver(model_inputs(self.model), lambda inputs: inputs)}
        return receivers(self.pipeline)

    @functools.cached_property
    def _method_names(self) -> dict[str, str]:
        """Of the signature that `classify_regress` added."""
        own = set(self.signatures.functions) - set(self._ways_in)
        return {name: method for name, method in METHODS.items() if name in own}

    @functools.cached_property
    def requests(self) -> Requests:
        """Real requests for every signature."""
        ways = dict(self._ways_in)
        for name, inputs in self.signatures.inputs.items():
            if name in self._method_names:
                ways[name] = method_receiver(ways)
            elif name not in ways:  # one more answer to the same inputs
                ways[name] = next(way for way in self._ways_in.values() if way.inputs == inputs)
        return Requests(self.pipeline, ways)

    @functools.cached_property
    def _writer(self) -> SavedModelWriter:
        return SavedModelWriter(self.signatures, self._method_names, keeps_graph=self._num_replicas == 1)

    @property
    def _num_replicas(self) -> int:
        strategy = getattr(self.model, "distribute_strategy", None)
        return strategy.num_replicas_in_sync if strategy is not None else 1

    @property
    def _has_validation(self) -> bool:
        return self.pipeline is not None and self.pipeline.has(VALIDATION)

    def stage(
        self,
        base: pathlib.Path,
        moment: Moment | None = None,
        *,
        progress: Progress = (),
        version: int | None = None,
    ) -> Staged:
        """Writes the export with the weights of this moment, and what proves it, out of everybody's sight.

        Args:
            base: The export directory.
            moment: When that is, for the manifest.
            progress: The validation metrics after batches of that split, without `val_`; after the last one they are
                those of the moment.
            version: By default one more than the newest.

        Raises:
            ParityError: A signature doesn't answer as the model does.
            FileExistsError: The version is there already.
        """
        base, moment = pathlib.Path(base), moment or Moment()
        base.mkdir(parents=True, exist_ok=True)
        if version is None:
            version = max([next_version(base), *(waiting.version + 1 for waiting in list_staged(base))])
        elif (base / str(version)).exists():
            raise FileExistsError(f"{base / str(version)} exists already.")
        calls = self._calls()
        with staging(base, version) as directory:
            self._writer.write(directory)
            manifest = begin_manifest(
                self.model,
                self.signatures,
                self.pipeline,
                moment,
                method_names=self._method_names,
                objective=self._objective,
                configuration=self._configuration,
            )
            files.write_json(directory / MANIFEST, {"version": version, **manifest})
            keep_calls(directory, calls, self._to_the_end(progress, moment.metrics))
        return staged(base, version)

    def _calls(self) -> list[Call]:
        calls = self._live.calls()
        if not self._was_compared and self._num_replicas == 1:
            difference = self._live.find_difference_from_keras(calls, self._tolerance, self._thresholds)
            if difference is not None:
                raise ParityError(
                    "answers",
                    f"Called by its signature and by Keras, {difference}. The example is "
                    f"{self.requests.place(difference.row)}.",
                    signature=self._live.plain,
                )
            self._was_compared = True
        return calls

    @functools.cached_property
    def _live(self) -> LiveModel:
        return LiveModel(self.model, self.pipeline, self.signatures, self._ways_in, self.requests)

    @property
    def _tolerance(self) -> float:
        return self.exports.proof.tolerance or tolerance_for(precision_of(self.model))

    @property
    def _thresholds(self) -> list[float]:
        return thresholds_of(self.pipeline.task if self.pipeline else None)

    def prepare(self) -> None:
        """Starts the process in which exports are tried, so that it is there when the first one is."""
        self._process.prepare()

    def interrupt(self) -> None:
        """Ends what another thread does in `prove` or `finish`, with an error; the staged export stays for the next."""
        self._interrupted.set()
        self._process.kill()

    def prove(self, export: Staged) -> Proven:
        """Proves a staged export in another process.

        Raises:
            ProofError: It isn't what it should be.
            FreshProcessError: There is no process to try it in.
        """
        warm_up = [(name, inputs) for size in self.exports.warmup for name, inputs in self.requests.of(size).items()]
        if warm_up:
            write_warm_up(export.model, warm_up)
        return self._prover.prove(
            export,
            files.read_json(export.model / MANIFEST),
            then=(lambda loaded: prove_warm_up(loaded, export.model)) if warm_up else None,
        )

    @functools.cached_property
    def _prover(self) -> Prover:
        return Prover(
            self._process,
            self._tolerance,
            self.exports.proof.budget_secs,
            self._thresholds,
            self._validation(),
            self.requests.place,
            self._interrupted,
        )

    def _validation(self) -> Validation | str:
        if self.pipeline is None or not self._has_validation:
            return "there is no validation split"
        if not self.exports.proof.metrics and not self.exports.slices:
            return "it wasn't asked for"
        if self._evaluation is None:
            return "nothing was evaluated with which they could be compared"
        try:
            return Validation(
                self.pipeline,
                self.model,
                self._ways_in,
                evaluation=self._evaluation,
                slices=as_slices(self.exports.slices),
                tolerance=self._metric_tolerance,
                is_strict=self._num_replicas == 1,
            )
        except NoScoresError as error:
            if self.exports.slices:
                raise
            return str(error)

    @property
    def _metric_tolerance(self) -> float | None:
        if not self.exports.proof.metrics:
            return None
        # A GPU computes with the mantissa of float16 what it says to be float32.
        return TOLERANCES["float16" if tf.config.list_physical_devices("GPU") else precision_of(self.model)]

    def finish(self, export: Staged, proven: Proven) -> None:
        """Adds the further formats and what the proof has shown, and gives the export its name.

        Raises:
            FileExistsError: The version is there already.
        """
        complete(export.model, proven, self.exports, self.pipeline, self.requests.of(1), self._interrupted)
        with locked(export.path.parent):
            export.publish()

    def publish(
        self,
        base: pathlib.Path,
        *,
        metrics: Mapping[str, float] | None = None,
        epoch: int = 0,
        step: int = 0,
        version: int | None = None,
    ) -> int:
        """Writes, proves and publishes `<base>/<version>`: everything or nothing.

        Args:
            base: The export directory.
            metrics: Kept in the manifest; where Keras' evaluation is known, those of the validation split are compared.
            epoch: Counted from 0.
            step: Optimizer steps taken.
            version: By default one more than the newest.

        Returns:
            The version.

        Raises:
            ProofError: What was written isn't what it should be.
            FreshProcessError: There is no process in which it could be tried.
            FileExistsError: The version is there already.
        """
        export = self.stage(base, Moment(epoch, step, metrics or {}), version=version)
        # A strategy's scope belongs to a thread; what clients load knows nothing of it.
        with concurrent.futures.ThreadPoolExecutor(1) as executor:
            done = executor.submit(lambda: self.finish(export, self.prove(export)))
            try:
                done.result()
            except BaseException:
                if not done.done():  # it is we who were interrupted
                    self.interrupt()
                export.discard()
                raise
        with locked(export.path.parent):
            write_pointers(export.path.parent, None)
        return export.version

    def _to_the_end(self, progress: Progress, metrics: Mapping[str, float]) -> Progress:
        """The validation metrics after each batch; Keras may count beyond the last one, or nobody watched it."""
        if self._evaluation is None or self.pipeline is None or not self._has_validation:
            return ()
        num_batches = math.ceil(self.pipeline.require_source(VALIDATION).num_examples / self._evaluation.batch_size)
        last = {name.removeprefix("val_"): value for name, value in metrics.items() if name.startswith("val_")}
        before = list(progress[: num_batches - 1])
        return [*before, *[{}] * (num_batches - 1 - len(before)), last]
