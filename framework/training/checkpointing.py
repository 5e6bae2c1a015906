"""The callback that takes snapshots. It stands last, so that it sees what all others did.

State is copied to host memory between two steps and written by a thread; training waits for the copy alone, and for
the writer where snapshots are due faster than the disk takes them.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence

import keras
from absl import logging

from framework.callbacks.background import BackgroundWriter
from framework.data.train import Position
from framework.training.checkpoints import CheckpointStore
from framework.training.config import Checkpoints
from framework.training.preemption import EXIT_CODES, Preempted, Signals
from framework.training.snapshot import UnsavedState, take


class SaveCheckpoints(keras.callbacks.Callback):
    """Saves the state of training within and at the ends of epochs, and before leaving when a signal asks for it.

    Args:
        store: Where to.
        callbacks: Those whose state is kept: all others of the run, in their order.
        when: How often, and what becomes of a failed write.
        steps: Batches of an epoch.
        signals: Asked after every step.
        meta: Kept in every snapshot.
        clock: Seconds that never go back.
    """

    def __init__(
        self,
        store: CheckpointStore,
        callbacks: Sequence[keras.callbacks.Callback],
        when: Checkpoints,
        *,
        steps: int,
        signals: Signals,
        meta: dict[str, float] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        super().__init__()
        self._store = store
        self._callbacks = callbacks
        self._when = when
        self._steps = steps
        self._signals = signals
        self._meta = meta or {}
        self._clock = clock
        self._writer = BackgroundWriter()
        self._unsaved = UnsavedState([])
        self._epoch = 0
        self._saved_secs = 0.0
        self._saved_steps: int | None = None

    def on_train_begin(self, logs=None):
        self._unsaved = UnsavedState(self._callbacks)
        self._saved_secs = self._clock()
        self._saved_steps = None

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if self._saved_steps is None:
            self._saved_steps = self._epoch * self._steps + batch

    def on_train_batch_end(self, batch, logs=None):
        self._checked(self._writer.check)
        step = batch + 1
        if step >= self._steps:
            return  # the epoch's end follows, with its evaluation
        if self._signals.received is not None:
            self._save(Position(self._epoch, step), stopped=False)
            self._leave()
        elif self._is_due(step) and not self._writer.busy:
            self._save(Position(self._epoch, step), stopped=False)

    def on_epoch_end(self, epoch, logs=None):
        self._checked(self._writer.check)
        stopped = bool(self.model.stop_training)
        last = stopped or epoch + 1 == self.params["epochs"]
        leaving = self._signals.received is not None and not last
        if last or leaving or (epoch + 1) % self._when.every_epochs == 0:
            self._save(Position(epoch + 1), stopped=stopped)
        if leaving:
            self._leave()

    def on_train_end(self, logs=None):
        self.close()

    def close(self) -> None:
        """Waits for the last snapshot to be on disk."""
        self._checked(self._writer.close)

    def _is_due(self, step: int) -> bool:
        steps, secs = self._when.every_steps, self._when.every_secs
        if steps is not None and self._epoch * self._steps + step - (self._saved_steps or 0) >= steps:
            return True
        return secs is not None and self._clock() - self._saved_secs >= secs

    def _save(self, position: Position, *, stopped: bool) -> None:
        self._unsaved.warn()
        snapshot = take(self.model, self._callbacks, position, stopped=stopped, meta=self._meta)
        self._checked(lambda: self._writer.submit(lambda: self._store.save(snapshot)))
        self._saved_secs = self._clock()
        self._saved_steps = position.epoch * self._steps + position.step

    def _leave(self) -> None:
        self.close()
        received = self._signals.received or signal.SIGTERM
        logging.info("%s: the state of training is saved, the same call goes on.", received.name)
        raise Preempted(EXIT_CODES[received])

    def _checked(self, action: Callable[[], None]) -> None:
        """Runs what may bring up the error of an earlier write."""
        try:
            action()
        except OSError as error:
            message = f"A checkpoint couldn't be written ({error}). The ones before it are whole."
            if self._when.on_error == "raise":
                raise type(error)(error.errno, message) from error
            logging.warning("%s Training goes on.", message)
