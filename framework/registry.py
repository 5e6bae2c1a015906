"""Models and pipelines by name.

Registering is joining: what a decorator has named can be given to `fit` and the scripts by that name, is listed,
and goes through the conformance tests. This module imports neither TensorFlow nor Keras.
"""

from __future__ import annotations

import difflib
import fnmatch
import inspect
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any, Generic, NoReturn, TypeVar, overload

from framework.plugins import load_plugins

T = TypeVar("T", bound=Callable[..., Any])


class Registry(Generic[T]):
    """Names of one kind of object.

    Attributes:
        kind: What is registered, for messages: `"model"`.
    """

    def __init__(self, kind: str, check: Callable[[T], None]):
        self.kind = kind
        self._check = check
        self._entries: dict[str, T] = {}
        self._executions: dict[str, Any] = {}  # of the module, when the entry was made

    @overload
    def register(self, target: T, *, name: str | None = None) -> T: ...
    @overload
    def register(self, target: None = None, *, name: str | None = None) -> Callable[[T], T]: ...
    def register(self, target=None, *, name=None):
        """Registers `target` under `name` and returns it unchanged; also a decorator with or without arguments.

        Defining the same function again (a notebook cell run twice, a module edited and reloaded) replaces it.

        Raises:
            TypeError: The target hasn't the form that this kind needs.
            ValueError: The name is taken by something defined elsewhere.
        """
        if isinstance(target, str):
            raise TypeError(f"Write @register_{self.kind}(name={target!r}): the name is a keyword argument.")
        if target is None:
            return lambda decorated: self._add(decorated, name)
        return self._add(target, name)

    def _add(self, target: T, name: str | None) -> T:
        self._check(target)
        name = name or getattr(target, "__name__", None)
        if name is None:
            raise TypeError(f"{target!r} has no name of its own: register_{self.kind}(..., name='...').")
        taken, execution = self._entries.get(name), _execution(target)
        if taken is not None and _place(taken) != _place(target):
            again = execution is not self._executions[name] or not os.path.exists(_place(taken).rpartition(":")[0])
            if not (again and _identity(taken) == _identity(target)):
                self._refuse(name, taken, target)
        self._entries[name] = target
        self._executions[name] = execution
        return target

    def _refuse(self, name: str, taken: T, target: T) -> NoReturn:
        raise ValueError(
            f"The {self.kind} name {name!r} is taken twice: by {_place(taken)} and by {_place(target)}. "
            f"Give one of them another name with @register_{self.kind}(name=...)."
        )

    def get(self, name: str) -> T:
        """The object registered as `name`; a miss loads the installed plugins and looks again.

        Raises:
            LookupError: Nothing has that name; the near ones are in the message.
        """
        if name not in self._entries:
            load_plugins()
        if name not in self._entries:
            raise LookupError(
                f"No {self.kind} is registered as {name!r}.{did_you_mean(name, self._entries)} "
                f"Registered: {', '.join(sorted(self._entries)) or 'none'}. A {self.kind} of your own is there once "
                f"its module is imported (the scripts' --import flag), or can be passed as an object."
            )
        return self._entries[name]

    def names(self, pattern: str = "*") -> list[str]:
        """Sorted names, those of the plugins included, which match a shell pattern such as `"*cnn*"`."""
        load_plugins()
        return sorted(fnmatch.filter(self._entries, pattern))

    def name_of(self, target: Any) -> str | None:
        """The name under which this very object is registered, or `None`."""
        return next((name for name, entry in self._entries.items() if entry is target), None)


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """`" Did you mean 'width'?"`, or nothing when no name is near."""
    near = difflib.get_close_matches(name, list(names), n=3)
    return f" Did you mean {' or '.join(repr(match) for match in near)}?" if near else ""


def _place(target: Any) -> str:
    """`file:line` of a definition."""
    code = getattr(inspect.unwrap(target), "__code__", None)
    if code is not None:
        return f"{code.co_filename}:{code.co_firstlineno}"
    try:
        return f"{inspect.getsourcefile(target)}:{inspect.getsourcelines(target)[1]}"
    except (OSError, TypeError):
        return f"{getattr(target, '__module__', '?')}.{getattr(target, '__qualname__', repr(target))}"


def _execution(target: Any) -> Any:
    """Stands for one execution of the target's module: `importlib.reload` gives it a new spec."""
    return getattr(sys.modules.get(target.__module__), "__spec__", None)


def _identity(target: Any) -> tuple[str, str]:
    return target.__module__, getattr(target, "__qualname__", "")


def _check_builder(target: Any) -> None:
    if not callable(target) or inspect.isclass(target):
        raise TypeError(f"A model is a function build(inputs, task, *, ...), got {target!r}.")
    parameters = list(inspect.signature(target).parameters.values())
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    swallows = [p for p in parameters if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if len(positional) != 2 or swallows:
        raise TypeError(
            f"Model {getattr(target, '__name__', target)!r} has the signature {inspect.signature(target)}; expected "
            "build(inputs, task, *, ...): two positional arguments, hyper-parameters after the * by name, "
            "no *args or **kwargs (they would swallow a typo)."
        )


def _check_pipeline(target: Any) -> None:
    if not callable(target):
        raise TypeError(f"A pipeline is a Pipeline subclass or a function that returns one, got {target!r}.")


_MODELS: Registry = Registry("model", _check_builder)
_PIPELINES: Registry = Registry("pipeline", _check_pipeline)

register_model = _MODELS.register
register_pipeline = _PIPELINES.register
get_model = _MODELS.get
get_pipeline = _PIPELINES.get
list_models = _MODELS.names
list_pipelines = _PIPELINES.names
model_name = _MODELS.name_of
pipeline_name = _PIPELINES.name_of
check_builder = _check_builder
