"""What can go wrong with a format."""

from __future__ import annotations


class FormatError(RuntimeError):
    """A SavedModel can't be had in a format, or what was converted doesn't answer as the SavedModel does.

    Attributes:
        format: The format's name.
        details: All that the converter said.
    """

    def __init__(self, name: str, message: str, details: str = ""):
        super().__init__(message)
        self.format = name
        self.details = details

    def __reduce__(self):
        return type(self), (self.format, str(self), self.details)


class FormatInterrupted(RuntimeError):
    """Converting was ended on purpose; that says nothing of the formats."""


class FormatRefused(FormatError):
    """A converted model is too much worse than the SavedModel to be published.

    Attributes:
        format: The format's name.
        metric: What was compared.
        before: Its value with the SavedModel.
        after: Its value with the format.
        allowed: The largest drop allowed, as a share of `before`.
    """

    def __init__(self, name: str, metric: str, before: float, after: float, allowed: float):
        super().__init__(
            name,
            f"Format {name!r} isn't published: {metric} goes from {before:.6g} (SavedModel) to {after:.6g}, allowed is "
            f"a drop of {allowed:.3g} of it. Allow more with Gate(max_drop=...), or choose a format that loses less "
            "(litert_dynamic instead of litert_int8, litert_f16 instead of litert_dynamic).",
        )
        self.metric, self.before, self.after, self.allowed = metric, before, after, allowed

    def __reduce__(self):
        return type(self), (self.format, self.metric, self.before, self.after, self.allowed)
