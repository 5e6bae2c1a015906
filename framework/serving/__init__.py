"""From an export to answers: in this process, and over HTTP.

locating        which SavedModel a path means: itself, the best of the versions in it, that of a run
signatures      one signature as a function of NumPy arrays, as fast as TensorFlow lets Python call it
predictor       `load_export`: all of an export's signatures, class names, image files
images          image files as the bytes or pixels that a signature takes
definitions     what the file says of each signature, as TensorFlow Serving reads it
rest            TensorFlow Serving's REST API as pure functions: paths, requests, answers, errors
server          the server for development: versions, micro-batches, metrics, the ASGI application

Nothing here needs the model's or the pipeline's code: any SavedModel with signatures will do.
"""

from framework.serving.locating import find_export
from framework.serving.predictor import Predictor, load_export
from framework.serving.signatures import LoadedSignature

__all__ = ["LoadedSignature", "Predictor", "find_export", "load_export"]
