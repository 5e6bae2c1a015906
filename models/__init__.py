"""Model builders, one architecture per file. Loaded as the plugin `models` (see `framework.plugins`)."""

import pkgutil

if __name__ == "models":
    # Imported by its plain name, where a person's own `models/` folder without an __init__.py would be hidden by
    # this package. Theirs comes first; ours are reached through the registry.
    __path__ = [folder for folder in pkgutil.extend_path(__path__, __name__) if folder not in __path__] + __path__
else:
    from . import gru, mlp, multimodal, resnet, small_cnn, text_cnn, wide_and_deep

    __all__ = ["gru", "mlp", "multimodal", "resnet", "small_cnn", "text_cnn", "wide_and_deep"]
