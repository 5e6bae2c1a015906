"""Fixed windows over one long series of measurements: forecasts of what follows, or the class of a stretch of it.

Splits are by time: the oldest rows are trained on, the newest tested, and no window straddles a border, so that nothing
of the future is in the training data.
"""

from typing import Any, Literal

import numpy as np

import framework
from framework.data.phases import TRAIN
from framework.data.series import Columns, Series
from framework.data.sources import Example
from framework.data.statistics import moments
from framework.data.windows import WINDOW, Window, WindowSource, split_rows


@framework.register_pipeline(name="windows")
class Windows(framework.Pipeline):
    """The raw feature is `"window"` float32 `[length, columns]`; the model gets it standardized, column by column.

    Rows are taken to be evenly spaced in time. Numbers come in the order of `columns`, targets row after row: with two
    targets and a horizon of three, `value` is `[first row's two, second row's two, third row's two]`.

    Args:
        data: A `.npy` file `[rows]` or `[rows, columns]` (memory-mapped, of any length), a `.csv` or `.parquet` file, a
            DataFrame, `{name: [rows]}`, or an array.
        targets: The column, or columns, to be predicted.
        columns: What the model sees of each row. By default all numeric columns, the targets' past included where
            the horizon isn't 0, but not the time, nor a class.
        length: Rows of a window.
        horizon: Of values, the rows after the window that are predicted; of a class, the row after the window that is.
            0 predicts the targets of the window's own last row from the other columns.
        stride: Rows from one window to the next.
        predict: `"value"` (regression) or `"class"` (names, or ids from 0).
        time: A column in whose order the rows must be; it is checked and not shown to the model.
        missing: What becomes of windows with a value that is missing: `"error"`, or `"skip"` leaves them out.
        validation: Share of the rows, after those of the training split; 0 for none.
        test: Share of the rows, the newest; 0 for none.
        names: Of an array's columns; by default `"column_0"` and so on.

    Raises:
        ValueError: There is no such column, or none to predict from, a target would be among what it is predicted from,
            rows aren't in the order of time, a value is missing, or a split is shorter than a window.
    """

    def __init__(
        self,
        data: Any,
        targets: str | list[str],
        columns: list[str] | None = None,
        *,
        length: int = 24,
        horizon: int = 1,
        stride: int = 1,
        predict: Literal["value", "class"] = "value",
        time: str | None = None,
        missing: Literal["error", "skip"] = "error",
        validation: float = 0.15,
        test: float = 0.15,
        names: list[str] | None = None,
    ):
        for name, value, known in (("predict", predict, ("value", "class")), ("missing", missing, ("error", "skip"))):
            if value not in known:
                raise ValueError(f"{name} must be {known[0]!r} or {known[1]!r}, got {value!r}.")
        if horizon < 0:
            raise ValueError(f"horizon is rows after the window, 0 or more; got {horizon}.")
        targets = [targets] if isinstance(targets, str) else list(targets)
        series = Series(data, names)
        series.check_names(targets, "targets")
        if not targets:
            raise ValueError("targets names no column: what is to be predicted?")
        if predict == "class" and len(targets) != 1:
            raise ValueError(f"A class is told by one column, got targets={targets}.")
        if time is not None:
            series.check_order(time)
        hidden = {time} | (set(targets) if predict == "class" or not horizon else set())
        columns = list(columns) if columns else [name for name in series.numeric_names() if name not in hidden]
        series.check_names(columns, "columns")
        if not columns:
            raise ValueError(
                f"No column is left for the window beside {sorted(filter(None, hidden))}: there is nothing to predict "
                "from."
            )
        told = sorted(set(targets) & set(columns))
        if told and not horizon:
            raise ValueError(
                f"With horizon=0 the window's last row holds what is to be predicted, {told}. Leave it out of "
                "columns=, or predict a later row."
            )
        self._inputs = series.numbers(columns)
        self._class_names: list[str] | None = None
        if predict == "class":
            self._targets, self._class_names = series.classes(targets[0])
            label_rows = [length - 1 + horizon]
        else:
            self._targets = series.numbers(targets)
            label_rows = [length + step for step in range(horizon)] or [length - 1]
        self._window = Window(length, tuple(label_rows), stride)
        self._missing = np.union1d(self._inputs.missing_rows(), self._targets.missing_rows())
        if len(self._missing) and missing == "error":
            raise ValueError(
                f"{len(self._missing)} of {len(series)} rows have a value that is missing or infinite, the first of "
                f'them row {self._missing[0]}. Fill them, or leave the windows that hold one out by missing="skip".'
            )
        held_out = {phase: share for phase, share in {"validation": validation, "test": test}.items() if share}
        self._rows = split_rows(len(series), {TRAIN: 1.0 - validation - test, **held_out})
        self._sources = {phase: self._split(phase) for phase in self._rows}
        self.features = {WINDOW: framework.Feature((length, len(columns)), "float32")}

    def _split(self, phase: str) -> WindowSource:
        first, last = self._rows[phase]
        starts = self._window.starts(first, last, missing=self._missing)
        if not len(starts):
            raise ValueError(
                f"The {phase} split has the rows {first} to {last - 1}, in which no window of {self._window.span} rows "
                "(label included) fits. Make windows shorter or the split larger."
            )
        dtype = "float32" if self._class_names is None else "int64"
        return WindowSource(self._inputs, self._targets, self._window, starts, label_dtype=dtype)

    @property
    def task(self):
        if self._class_names is not None:
            return framework.tasks.Classification(class_names=self._class_names)
        offset, scale = self.statistics.get("target", (0.0, 1.0))
        num_values = len(self._window.label_rows) * len(self._targets.chosen)
        return framework.tasks.Regression(num_values, offset=float(offset), scale=float(scale))

    def source(self, phase):
        return self._sources.get(phase)

    def learn(self, train):
        # Of the rows themselves: windows would count those in the middle of the split more often.
        learned = moments(self._train_rows(self._inputs, WINDOW), [WINDOW])
        if self._class_names is None:
            targets = moments(self._train_rows(self._targets, "target"), ["target"])
            # One for all targets: what the mixture of them has.
            mean, variance = targets["target/mean"], targets["target/deviation"] ** 2
            learned["target"] = np.asarray([mean.mean(), np.sqrt(variance.mean() + mean.var())], np.float32)
        return learned

    def _train_rows(self, columns: Columns, name: str):
        """The training split's rows in batches, without those that have a value missing."""
        for start, part in columns.chunks(*self._rows[TRAIN]):
            missing = self._missing[(start <= self._missing) & (self._missing < start + len(part))] - start
            yield Example({name: np.delete(part, missing, axis=0)}, None)

    def preprocess(self, features):
        return {WINDOW: self.statistics.standardize(WINDOW, features[WINDOW])}
