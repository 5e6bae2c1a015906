"""How Keras' own `fit` is started in the middle.

Keras can begin at an epoch, not within one, and its callbacks forget everything when training begins. The one list of
callbacks that `fit` accepts ready-made is where both can be mended with public API alone: the dataset starts at
(epoch, step), this list counts the first epoch's batches from `step`, ends it when it is full, and puts state back at
the moments after which Keras would have overwritten it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from framework.data.train import Position
from framework.training.checkpoints import Snapshot
from framework.training.snapshot import restore_callbacks, restore_variables


class ResumingCallbackList(keras.callbacks.CallbackList):
    """Callbacks of a `fit` that starts at a snapshot.

    Args:
        callbacks: In the order in which they are called.
        stateful: Those whose state is in the snapshot.
        model: The compiled model.
        snapshot: Where to go on; `None` to start from the beginning.
        steps: Batches of an epoch.
        epochs: Of the whole run.
        verbose: Of Keras' progress bar: 0, 1 or 2.
    """

    def __init__(
        self,
        callbacks: Sequence[keras.callbacks.Callback],
        *,
        stateful: Sequence[keras.callbacks.Callback],
        model: keras.Model,
        snapshot: Snapshot | None,
        steps: int,
        epochs: int,
        verbose: int,
    ):
        self._stateful = list(stateful)
        self._snapshot = snapshot
        self._start = snapshot.position if snapshot else Position()
        self._steps = steps
        self._offset = 0
        self._cut_short = False
        super().__init__(
            list(callbacks),
            add_history=False,
            add_progbar=verbose != 0,
            model=model,
            verbose=verbose,
            epochs=epochs,
            steps=steps,
        )

    def on_train_begin(self, logs: Any = None) -> None:
        super().on_train_begin(logs)
        if self._snapshot is not None:
            restore_callbacks(self._stateful, self._snapshot)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._offset = self._start.step if epoch == self._start.epoch else 0
        if self._offset and self._snapshot is not None:
            restore_variables(self.model, self._snapshot)  # metrics too, which fit has just reset
        super().on_epoch_begin(epoch, logs)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        super().on_train_batch_begin(batch + self._offset, logs)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        batch += self._offset
        super().on_train_batch_end(batch, logs)
        if self._offset and batch + 1 >= self._steps and not self.model.stop_training:
            # The epoch is full: leave Keras' loop over batches as if its data had ended.
            self._cut_short = True
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self._cut_short:
            self._cut_short = False
            self.model.stop_training = False
        super().on_epoch_end(epoch, logs)
