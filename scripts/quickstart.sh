#!/usr/bin/env bash
# Trains a first model and shows what comes out: `bash scripts/quickstart.sh`; arguments go to quickstart.py.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/environment.sh"

export KERAS_BACKEND=tensorflow TF_CPP_MIN_LOG_LEVEL="${TF_CPP_MIN_LOG_LEVEL:-2}"
exec "$python" "$root/scripts/quickstart.py" "$@"
