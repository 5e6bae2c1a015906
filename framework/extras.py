"""Optional packages: imported when needed, and missed with the name of the extra that brings them."""

from __future__ import annotations

import importlib
import types


def require(module: str, *, extra: str, purpose: str) -> types.ModuleType:
    """Imports an optional module.

    Args:
        module: Its import name, such as `"sklearn.datasets"`.
        extra: The extra of this distribution that installs it.
        purpose: What it is needed for, as the beginning of the message: `"The digits pipeline"`.

    Raises:
        ImportError: It isn't installed; the message says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ImportError(
            f'{purpose} needs {package}, which isn\'t installed: pip install "keras-shipyard[{extra}]".'
        ) from error
