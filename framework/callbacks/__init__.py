"""Keras callbacks that join the above to `Model.fit`. Each works in a bare `fit` too."""

from framework.callbacks.early_stopping import EarlyStopping
from framework.callbacks.export_best import ExportBest
from framework.callbacks.history import WriteHistory
from framework.callbacks.non_finite import NonFiniteLossError, StopOnNonFinite
from framework.callbacks.report_skipped import ReportSkipped

__all__ = ["EarlyStopping", "ExportBest", "NonFiniteLossError", "ReportSkipped", "StopOnNonFinite", "WriteHistory"]
