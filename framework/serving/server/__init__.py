"""A server for development, which speaks TensorFlow Serving's REST API.

answering       what a model answers to a request
batching        requests that wait at the same time become one call of TensorFlow
versions        which versions of a model are served: policy, polling, hot swap
warmup          a version answers before clients see it
image_sizes     what a decoder would be asked for, before it is
metrics         Prometheus, under TensorFlow Serving's names
app             the ASGI application

Everything but loading and computing happens in one event loop, so that its objects need no locks. Needs the extra
`server`. In production, TensorFlow Serving serves the same directory.
"""

from framework.serving.server.answering import Limits
from framework.serving.server.app import create_app
from framework.serving.server.batching import Batching
from framework.serving.server.versions import ServedModel, VersionPolicy

__all__ = ["Batching", "Limits", "ServedModel", "VersionPolicy", "create_app"]
