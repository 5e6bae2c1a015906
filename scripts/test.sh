#!/usr/bin/env bash
# Runs the tests: `bash scripts/test.sh`; arguments go to pytest, paths are relative to the repository's root.
# All of them run in as many processes as there are cores, up to four; with arguments, in one unless they say `-n`.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/environment.sh"

# A KERAS_BACKEND or ~/.keras/keras.json of another project must not choose; TensorFlow's start-up notes are noise.
export KERAS_BACKEND=tensorflow TF_CPP_MIN_LOG_LEVEL="${TF_CPP_MIN_LOG_LEVEL:-2}"
cd -- "$root"
# A file's tests stay together: they share what is made once for all of them.
if (($# == 0)); then set -- -n auto --maxprocesses 4 --dist loadfile; fi
exec "$python" -m pytest "$@"
