"""Pictures of a run: what went in, how training went, what came out.

Each function draws one picture from NumPy arrays, writes it as a PNG in one step (a reader never sees half of
one) and returns its path. They need no display, leave matplotlib's global state alone and may be called from
any thread. In the order in which a run has something to show:

* `image_sheet`, `feature_sheet`: what the model is fed, as read and as augmented;
* `learning_curves`: loss, metrics and learning rate over the epochs;
* `confusion_matrix` (and its numbers, `count_confusions`): which classes are taken for which;
* `predicted_against_true`: the same question for a regression.

>>> import pathlib, tempfile
>>> from framework import report
>>> history = {"loss": [0.9, 0.5, 0.4], "val_loss": [0.8, 0.6, 0.7]}
>>> with tempfile.TemporaryDirectory() as run_dir:
...     path = report.learning_curves(history, pathlib.Path(run_dir, "report", "curves.png"), best_epoch=1)
...     path.name, path.stat().st_size > 1000
('curves.png', True)
"""

from framework.report.confusion import confusion_matrix, count_confusions
from framework.report.curves import learning_curves
from framework.report.histograms import feature_sheet
from framework.report.images import image_sheet
from framework.report.scatter import predicted_against_true

__all__ = [
    "confusion_matrix",
    "count_confusions",
    "feature_sheet",
    "image_sheet",
    "learning_curves",
    "predicted_against_true",
]
