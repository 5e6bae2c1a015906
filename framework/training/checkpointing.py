"""The callback that takes snapshots. It stands last, so that it sees what all others did."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from framework.data.train import Position
from framework.training.checkpoints import CheckpointStore
from framework.training.snapshot import take


class SaveCheckpoints(keras.callbacks.Callback):
    """Saves the state of training at the ends of epochs.

    Args:
        store: Where to.
        callbacks: Those whose state is kept: all others of the run, in their order.
        every_epochs: Epochs between checkpoints; the last epoch is always saved.
    """

    def __init__(self, store: CheckpointStore, callbacks: Sequence[keras.callbacks.Callback], *, every_epochs: int):
        super().__init__()
        self._store = store
        self._callbacks = callbacks
        self._every_epochs = every_epochs

    def on_epoch_end(self, epoch, logs=None):
        stopped = bool(self.model.stop_training)
        last = stopped or epoch + 1 == self.params["epochs"]
        if last or (epoch + 1) % self._every_epochs == 0:
            self._store.save(take(self.model, self._callbacks, Position(epoch + 1), stopped=stopped))
