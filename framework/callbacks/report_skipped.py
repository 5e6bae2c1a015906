"""How many examples are left out, where everybody sees it: in the progress line, the history and TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping

import keras


class ReportSkipped(keras.callbacks.Callback):
    """Adds `skipped_<kind>` to every epoch's logs. To stand first, so that all others see it.

    Args:
        counts: How many examples of each kind of fault are skipped.
    """

    def __init__(self, counts: Mapping[str, int]):
        super().__init__()
        self.counts = {f"skipped_{kind.replace(' ', '_')}": float(count) for kind, count in counts.items()}

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:
            logs.update(self.counts)
