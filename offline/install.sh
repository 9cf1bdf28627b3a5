#!/usr/bin/env bash
# Installs omr from this folder into a new virtual environment, without a network.
#
#   ./install.sh FOLDER     folder to create; PYTHON: Python to use (default: python3)
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}

fail() {
  echo "install.sh: $1" >&2
  exit 1
}

case "${1:-}" in
  "" | -*) sed -n '2,4s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
venv=$1
[ ! -e "$venv" ] || fail "$venv: already exists; choose another folder"
(cd "$here" && sha256sum --check --quiet --strict SHA256SUMS) ||
  fail "$here: a file is damaged or missing; copy the wheelhouse again"
wanted=$(sed -n '1s/^# [a-z]* //p' "$here/requirements.txt")
present=$("$python" -c 'import sys, sysconfig as s
v, p = sys.version_info, s.get_platform().replace("-", "_").replace(".", "_")
print(f"cp{v.major}{v.minor}-{p}")') || fail "$python: cannot be run; set PYTHON"
[ "$present" = "$wanted" ] ||
  fail "$python is $present, but the wheels are for $wanted; set PYTHON, or make a wheelhouse there"

trap 'rm -rf "$venv"' EXIT
"$python" -m venv "$venv" || fail "$venv: cannot be created; Debian needs the package python3-venv"
# The user's configuration of pip could add an index, or other folders with wheels.
PIP_CONFIG_FILE=/dev/null "$venv/bin/python" -m pip --isolated install --quiet \
  --disable-pip-version-check --no-cache-dir --no-index --no-deps --only-binary=:all: \
  --require-hashes --find-links "$here/wheels" --requirement "$here/requirements.txt"
"$venv/bin/python" -m pip check
trap - EXIT
echo "installed; run $venv/bin/omr --help"
