"""Method and path of a request."""

from __future__ import annotations

import dataclasses
import re
import urllib.parse
from typing import Any, Literal

from framework.serving.rest.errors import RequestError

Action = Literal["predict", "classify", "regress", "status", "metadata"]

_VERSION = r"(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
_POST = re.compile(rf"/v1/models/(?P<model>[^/:]+){_VERSION}:(?P<action>classify|regress|predict)", re.IGNORECASE)
_GET = re.compile(rf"/v1/models(?:/(?P<model>[^/:]+))?{_VERSION}(?:/(?P<action>metadata))?", re.IGNORECASE)
_LARGEST = 2**63 - 1


@dataclasses.dataclass(frozen=True)
class Target:
    """Which model, which version of it, and what about it.

    Attributes:
        model: Its name.
        action: `"predict"`, `"classify"`, `"regress"`, `"status"` or `"metadata"`.
        version: The version's number; `None` for the newest.
        label: What the version is called instead of its number.
    """

    model: str
    action: Action
    version: int | None = None
    label: str | None = None

    def __str__(self) -> str:
        """As TensorFlow Serving writes it in messages."""
        return f"Latest({self.model})" if self.version is None else f"Specific({self.model}, {self.version})"


def parse_path(method: str, path: str) -> Target:
    """What a request is about.

    Args:
        method: `"GET"` or `"POST"`.
        path: As it came, percent-encoded, without the query.

    Raises:
        RequestError: (400) There is nothing under this path for this method.
    """
    pattern = {"POST": _POST, "GET": _GET}.get(method)
    match = pattern.fullmatch(path) if pattern else None
    if match is None:
        raise RequestError(f"Malformed request: {method} {path}")
    if not match["model"]:
        raise RequestError("Missing model name in request.")
    action: Any = (match["action"] or "status").lower()
    label = urllib.parse.unquote(match["label"]) if match["label"] else None
    return Target(urllib.parse.unquote(match["model"]), action, _version(match["version"]), label)


def _version(digits: str | None) -> int | None:
    if digits is None:
        return None
    if len(digits.lstrip("0")) > len(str(_LARGEST)) or int(digits) > _LARGEST:
        raise RequestError(f"Failed to convert version: {digits[:40]} to numeric.")
    return int(digits)
