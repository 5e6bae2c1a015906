"""What is predicted: loss, metrics, objective, units, and predictions for serving."""

from framework.tasks.classification import (
    BinaryClassification,
    Classification,
    MultiLabelClassification,
)
from framework.tasks.heads import Heads
from framework.tasks.infer import infer_task
from framework.tasks.objective import Objective
from framework.tasks.regression import Regression
from framework.tasks.task import Task

__all__ = [
    "BinaryClassification",
    "Classification",
    "Heads",
    "MultiLabelClassification",
    "Objective",
    "Regression",
    "Task",
    "infer_task",
]
