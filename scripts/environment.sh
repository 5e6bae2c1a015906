#!/usr/bin/env bash
# Makes this checkout's virtual environment with the versions of constraints.txt, or finds it ready.
#
#   bash scripts/environment.sh      by hand
#   source scripts/environment.sh    from a bash script, which then has $root and $python
#
# PYTHON          the interpreter to make it from (default: python3, else python3.13, 3.12 or 3.11)
# SHIPYARD_VENV   the directory to make it in (default: .venv at the repository's root)
set -euo pipefail

# Another activated environment, or paths meant for another Python, must not reach the commands that follow.
unset CDPATH PYTHONHOME PYTHONPATH PYTHONUSERBASE VIRTUAL_ENV __PYVENV_LAUNCHER__

root="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)"
venv="${SHIPYARD_VENV:-$root/.venv}"
[[ "$venv" == /* ]] || venv="$PWD/$venv"
python="$venv/bin/python"
# "incomplete" while an installation runs; after it, what was installed and where (see fingerprint).
stamp="$venv/shipyard-stamp"

say() { printf '%s\n' "$@" >&2; }

fail() { # what happened, got, expected, how to fix it
  say "error: $1" "  got:      $2" "  expected: $3" "  fix:      $4"
  exit 1
}

# Prints "3.12.1 ok", "3.10.13 unsupported" or "3.12.1 no-venv"; nothing for what isn't a Python 3 that starts.
# -I, here and below: neither the current directory nor the user's site-packages are imported from.
probe() {
  "$1" -I -c '
import sys

if not (3, 11) <= sys.version_info[:2] < (3, 14):
    state = "unsupported"
else:
    try:
        import ensurepip, venv
        state = "ok"
    except ImportError:
        state = "no-venv"
print("%d.%d.%d" % sys.version_info[:3], state)
' 2>/dev/null </dev/null || true
}

find_interpreter() { # sets $interpreter
  local candidates=(python3 python3.13 python3.12 python3.11) found rejected=""
  if [[ -n "${PYTHON:-}" ]]; then candidates=("$PYTHON"); fi
  for interpreter in "${candidates[@]}"; do
    found="$(probe "$interpreter")"
    case "$found" in
      *" ok") return ;;
      *" unsupported") rejected+="$interpreter is Python ${found% *}; " ;;
      *" no-venv") rejected+="$interpreter (Python ${found% *}) lacks the module venv or ensurepip; " ;;
      *) rejected+="$interpreter doesn't start; " ;;
    esac
  done
  fail "no Python to make the environment from." "${rejected%; }" \
    "Python 3.11, 3.12 or 3.13 with the modules venv and ensurepip" \
    "install one (on Debian and Ubuntu: python3 and python3-venv), or name one: PYTHON=/path/to/python3.12"
}

fingerprint() { # what the environment is made from, then where; fails if its Python doesn't start
  "$python" -I -c '
import hashlib, platform, sys

digest = hashlib.sha256(platform.python_version().encode())
for path in sys.argv[1:]:
    with open(path, "rb") as file:
        digest.update(file.read())
print(digest.hexdigest())
' "$root/setup.cfg" "$root/pyproject.toml" "$root/constraints.txt" </dev/null && printf '%s\n' "$root > $venv"
}

check_existing() { # refuses an environment that can't be used, and one that isn't of the Python asked for
  local found wanted remedy="move or remove it and run this again, or set SHIPYARD_VENV to another directory"
  found="$(probe "$python")"
  if [[ ! -e "$stamp" ]] && ! { [[ -e "$venv/pyvenv.cfg" ]] && "$python" -I -m pip --version; } >/dev/null 2>&1; then
    fail "$venv exists and this script didn't make it." "a directory without a working Python and pip" \
      "a virtual environment, or nothing" "$remedy"
  fi
  if [[ "$found" == *" unsupported" ]]; then
    fail "$venv has an unsupported Python." "Python ${found% *}" "Python 3.11, 3.12 or 3.13" "$remedy"
  fi
  if [[ -n "${PYTHON:-}" && -n "$found" ]]; then
    wanted="$(probe "$PYTHON")"
    wanted="${wanted% *}"
    if [[ "${wanted%.*}" != "${found%.*}" ]]; then
      fail "$venv is not of the Python asked for (PYTHON=$PYTHON)." "Python ${found% *}" \
        "${wanted:+Python }${wanted:-that PYTHON starts}" "$remedy; or leave PYTHON unset"
    fi
  fi
}

create() { # an empty environment from $interpreter, in the place of what an interrupted installation or a move has left
  mkdir -p -- "$venv"
  echo incomplete >"$stamp"
  find "$venv/" -mindepth 1 -not -name shipyard-stamp -delete
  "$interpreter" -I -m venv "$venv"
}

install() {
  local name pip
  # Of pip's own variables only those stay which say where packages come from, not what to install or where to.
  for name in "${!PIP_@}"; do
    case "${name#PIP_}" in
      INDEX_URL | EXTRA_INDEX_URL | NO_INDEX | FIND_LINKS | TRUSTED_HOST | CERT | CLIENT_CERT | PROXY) ;;
      CONFIG_FILE | CACHE_DIR | NO_CACHE_DIR | DEFAULT_TIMEOUT | TIMEOUT | RETRIES | KEYRING_PROVIDER) ;;
      *) unset "$name" ;;
    esac
  done
  export PIP_USER=0 PIP_NO_INPUT=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
  pip=("$python" -I -m pip install -qq -c constraints.txt)
  echo incomplete >"$stamp"
  cd -- "$root"
  # The build backend comes from the lock too, so the second step builds without an environment of its own.
  if ! { "${pip[@]}" setuptools wheel && "${pip[@]}" --no-build-isolation -e ".[samples,test]"; } </dev/null; then
    fail "the packages could not be installed into $venv." "pip's message above" "every line of constraints.txt" \
      "check the connection, pip's settings and the free disk space (4 GB); then run this again, it starts afresh"
  fi
}

prepare() {
  local recorded current step=create
  if [[ -n "$(ls -A -- "$venv" 2>/dev/null)" ]]; then
    check_existing
    # Requirements that changed are installed over what is there. What was interrupted, was moved with the checkout or
    # has lost its interpreter is made anew: pip can't tell which of its files are whole, and scripts hold full paths.
    step=update
    if [[ -e "$stamp" ]]; then
      recorded="$(<"$stamp")"
      current="$(fingerprint 2>/dev/null)" || current=""
      if [[ -n "$current" && "$recorded" == "$current" ]]; then return; fi
      if [[ -z "$current" || "${recorded#*$'\n'}" != "${current#*$'\n'}" ]]; then step=create; fi
    fi
  fi
  if [[ "$step" == create ]]; then
    find_interpreter
    say "Installing Python packages (TensorFlow, Keras; 3.4 GB) into $venv. Once; 2 to 5 minutes."
    create
  else
    say "Bringing $venv up to date with setup.cfg and constraints.txt; seconds to a few minutes."
  fi
  install
  fingerprint >"$stamp.new"
  mv -- "$stamp.new" "$stamp"
}

# One process at a time, where the system has flock: the others wait, then find the environment ready.
(
  if command -v flock >/dev/null && ! flock --nonblock 9; then
    say "Waiting for another process that is making $venv."
    flock 9 || true
  fi
  prepare
) 9<"$root"

if [[ "${BASH_SOURCE[0]}" == "$0" ]]; then
  say "Ready. To use it: source '$venv/bin/activate'"
fi
