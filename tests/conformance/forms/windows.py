import numpy as np


def windows_options(directory):
    """A forecast of one of two noisy waves, from a file that is memory-mapped."""
    random = np.random.default_rng(0)
    time = np.arange(400)
    waves = np.stack([np.sin(time / 5.0), 10.0 * np.cos(time / 7.0)], axis=1) + random.normal(0.0, 0.1, (400, 2))
    np.save(directory / "waves.npy", waves)
    return {"data": str(directory / "waves.npy"), "targets": "column_0", "length": 12, "horizon": 2, "stride": 2}
