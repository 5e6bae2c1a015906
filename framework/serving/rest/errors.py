"""What a request is refused with."""

from __future__ import annotations

import tensorflow as tf

_INTERNAL = 500
# TensorFlow's codes as HTTP statuses, by TensorFlow Serving's table.
_STATUS = {
    tf.errors.CANCELLED: 499,
    tf.errors.INVALID_ARGUMENT: 400,
    tf.errors.DEADLINE_EXCEEDED: 504,
    tf.errors.NOT_FOUND: 404,
    tf.errors.ALREADY_EXISTS: 409,
    tf.errors.PERMISSION_DENIED: 403,
    tf.errors.RESOURCE_EXHAUSTED: 429,
    tf.errors.FAILED_PRECONDITION: 400,
    tf.errors.ABORTED: 409,
    tf.errors.OUT_OF_RANGE: 400,
    tf.errors.UNIMPLEMENTED: 501,
    tf.errors.UNAVAILABLE: 503,
    tf.errors.UNAUTHENTICATED: 401,
}


class RequestError(Exception):
    """A request that isn't answered.

    Args:
        message: For the client.
        status: HTTP's.
    """

    def __init__(self, message: str, status: int = 400):
        super().__init__(message)
        self.status = status


def request_error(error: tf.errors.OpError) -> RequestError:
    """What an operation of the signature said, with the HTTP status of its code."""
    return RequestError(str(error), _STATUS.get(error.error_code, _INTERNAL))
