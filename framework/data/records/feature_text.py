"""Features as text, for sidecars, options and command lines: `"int64(None, 2)"`, `"image(224, 224, 3)"`."""

from __future__ import annotations

import ast
import re

from framework.features import Feature
from framework.media import Image

_FORM = re.compile(r"\s*(\w+)\s*(\([^()]*\))?\s*(stretch|crop|pad)?\s*(?:from\s+(\S.*?))?\s*")
_HOW = "Write a dtype and the shape of one example, such as 'float32', 'int64(None, 2)' or 'image(224, 224, 3) crop'"


def parse_feature(text: str) -> tuple[Feature, str | None]:
    """A feature from its text, and the key under which it is kept elsewhere, if the text ends with `from KEY`.

    >>> parse_feature("int64(None, 2) from codes/values")
    (Feature(shape=(None, 2), dtype='int64'), 'codes/values')
    >>> parse_feature("image(224, 224, 3) crop")
    (Image(shape=(224, 224, 3), dtype='uint8', aspect='crop'), None)

    Raises:
        ValueError: It is written in another way, or no feature has that dtype or shape.
    """
    match = _FORM.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"{text!r} isn't a feature. {_HOW}.")
    dtype, axes, aspect, key = match.groups()
    try:
        shape = ast.literal_eval(axes or "()")
        shape = shape if isinstance(shape, tuple) else (shape,)
        if dtype == "image":
            return Image(shape, aspect=aspect or "stretch"), key  # type: ignore[arg-type]
        if aspect:
            raise ValueError(f"{aspect!r} is for an image")
        return Feature(shape, dtype), key
    except (ValueError, TypeError, SyntaxError) as error:
        raise ValueError(f"{text!r} isn't a feature: {error}. {_HOW}.") from error


def feature_text(feature: Feature, key: str | None = None) -> str:
    """The opposite of `parse_feature`.

    Raises:
        TypeError: There is no text for features of this class.
    """
    if type(feature) not in (Feature, Image):
        raise TypeError(f"A record can hold a Feature or an Image, got a {type(feature).__name__}.")
    text = "image" if isinstance(feature, Image) else feature.dtype
    if feature.shape:
        text += f"({', '.join(map(str, feature.shape))})"
    if isinstance(feature, Image) and feature.aspect != "stretch":
        text += f" {feature.aspect}"
    return f"{text} from {key}" if key else text
