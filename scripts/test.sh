#!/usr/bin/env bash
# Runs the tests: `bash scripts/test.sh`; arguments go to pytest, paths are relative to the repository's root.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/environment.sh"

# A KERAS_BACKEND or ~/.keras/keras.json of another project must not choose; TensorFlow's start-up notes are noise.
export KERAS_BACKEND=tensorflow TF_CPP_MIN_LOG_LEVEL="${TF_CPP_MIN_LOG_LEVEL:-2}"
cd -- "$root"
exec "$python" -m pytest "$@"
