"""Pipelines, one data set or data form per file. Loaded as the plugin `pipelines` (see `framework.plugins`)."""

import pkgutil

if __name__ == "pipelines":
    # Imported by its plain name, where a person's own `pipelines/` folder without an __init__.py would be hidden by
    # this package. Theirs comes first; ours are reached through the registry.
    __path__ = [folder for folder in pkgutil.extend_path(__path__, __name__) if folder not in __path__] + __path__
else:
    from . import diabetes, digits, hf, image_folder, multimodal, records, sequences, table, text, tfds, windows, wine

    __all__ = [
        "diabetes",
        "digits",
        "hf",
        "image_folder",
        "multimodal",
        "records",
        "sequences",
        "table",
        "text",
        "tfds",
        "windows",
        "wine",
    ]
