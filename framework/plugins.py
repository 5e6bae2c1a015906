"""Packages that register models and pipelines, found through the entry-point group `framework.plugins`.

    [options.entry_points]
    framework.plugins =
        my_models = my_package.my_models

Importing the named module is all that a plugin needs: its decorators do the rest.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import pathlib
import sys
import threading

GROUP = "framework.plugins"
_DISTRIBUTION = "keras-shipyard"
_lock = threading.RLock()
_loaded = False


def load_plugins() -> None:
    """Imports every installed plugin, once a process.

    Raises:
        ImportError: A plugin can't be imported; the message names it and its distribution.
    """
    global _loaded
    with _lock:
        if _loaded:
            return
        _loaded = True  # before the imports: a plugin may itself look a name up
        try:
            for entry in importlib.metadata.entry_points(group=GROUP):
                _load(entry)
        except BaseException:
            _loaded = False
            raise


def _load(entry: importlib.metadata.EntryPoint) -> None:
    distribution = entry.dist.name if entry.dist else "unknown"
    try:
        if distribution == _DISTRIBUTION:
            _load_own(entry.value)
        else:
            importlib.import_module(entry.module)
    except ImportError as error:
        raise ImportError(
            f"The plugin {entry.name!r} ({entry.value}) of the distribution {distribution!r} can't be imported: "
            f"{error}. Repair or uninstall it."
        ) from error


def _load_own(name: str) -> None:
    """Imports our `models` or `pipelines` from beside this package, under a name that nobody else has.

    `import models` in a person's project means *their* `models/` folder; ours must neither hide nor be hidden by it.
    """
    alias = f"keras_shipyard_{name}"
    if alias in sys.modules:
        return
    folder = pathlib.Path(__file__).resolve().parent.parent / name
    spec = importlib.util.spec_from_file_location(
        alias, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"{folder} isn't a package")
    module = importlib.util.module_from_spec(spec)
    sys.modules[alias] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[alias]
        raise
