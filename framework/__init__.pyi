from . import callbacks as callbacks
from . import data as data
from . import export as export
from . import tasks as tasks
from . import testing as testing
from .features import Feature as Feature
from .media import Image as Image
from .registry import (
    get_model as get_model,
    get_pipeline as get_pipeline,
    list_models as list_models,
    list_pipelines as list_pipelines,
    register_model as register_model,
    register_pipeline as register_pipeline,
)
from .tasks.objective import Objective as Objective
from .data.sources import (
    ArraySource as ArraySource,
    DatasetSource as DatasetSource,
    Source as Source,
)
from .data.bad_examples import BadExamples as BadExamples
from .data.pipeline import Pipeline as Pipeline, signature as signature
from .data.ready_made import (
    pipeline_from_arrays as pipeline_from_arrays,
    pipeline_from_datasets as pipeline_from_datasets,
)
from .building import build_model as build_model
from .training.config import (
    Checkpoints as Checkpoints,
    Divergence as Divergence,
    Exports as Exports,
    Optimization as Optimization,
    Schedule as Schedule,
    Stopping as Stopping,
)
from .training.warm_start import WarmStart as WarmStart
from .training.fit import fit as fit
from .training.run import Run as Run
from .serving.predictor import load_export as load_export

__version__: str
