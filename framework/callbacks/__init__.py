"""Keras callbacks that join the above to `Model.fit`. Each works in a bare `fit` too."""

from framework.callbacks.early_stopping import EarlyStopping
from framework.callbacks.export_best import ExportBest
from framework.callbacks.history import WriteHistory
from framework.callbacks.non_finite import NonFiniteLossError, StopOnNonFinite

__all__ = ["EarlyStopping", "ExportBest", "NonFiniteLossError", "StopOnNonFinite", "WriteHistory"]
