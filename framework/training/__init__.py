"""`fit` and what it needs: configuration, run directory, checkpoints, the finished run.

config          a few frozen dataclasses with good defaults, made into Keras' own objects
run_directory   one directory, one configuration, one writer
checkpoints     snapshots on disk: atomic, checked, the newest readable one is used
snapshot        what a snapshot holds and how it goes back into Keras objects
resuming        how Keras' own `fit` is started in the middle
fit             all of it together
run             what `fit` returns, and brings back in a new process
"""
