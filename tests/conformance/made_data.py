"""Options of the pipelines that need data of their own, which are made here."""

import importlib
import pathlib
from typing import Any

FORMS = pathlib.Path(__file__).resolve().parent / "forms"


def options_for(name: str, directory: pathlib.Path) -> dict[str, Any]:
    """The options of a registered pipeline, with small data made in `directory` where it needs some."""
    if not (FORMS / f"{name}.py").exists():
        return {}
    return getattr(importlib.import_module(f"forms.{name}"), f"{name}_options")(directory)
