#!/usr/bin/env bash
# Downloads the wheels that the GPU machine lacks (wheels.txt), for CPython 3.12 on x86-64 Linux.
#
#   benchmarks/gpu/wheels.sh [FOLDER]     default: .whl in the repository; PYTHON: the one with pip
#
# Wheels that exist in FOLDER are not downloaded again.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
folder=${1:-$root/.whl}
python=${PYTHON:-python3}
limit=55000000  # bytes; the wheels are sent to the machine together with the repository

fail() {
  echo "wheels.sh: $1" >&2
  exit 1
}

listed() { sed -e 's/#.*//' "$here/wheels.txt" | awk 'NF { print tolower($1) }'; }

pinned() { awk -F== -v name="$1" 'tolower($1) == name { print $2 }' "$root/constraints.txt"; }

fetch() {
  # pip matches a manylinux tag exactly: list every glibc up to 2.35, which the machine exceeds.
  local minor platforms=()
  for minor in $(seq 35 -1 17); do
    platforms+=(--platform "manylinux_2_${minor}_x86_64")
  done
  "$python" -m pip download --quiet --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
    --python-version 3.12 --implementation cp "${platforms[@]}" --platform manylinux2014_x86_64 \
    --platform manylinux1_x86_64 --dest "$folder" "$1==$2" || fail "$1 $2: cannot be fetched"
}

mkdir -p "$folder"
shopt -s nullglob
wheels=()
for name in $(listed); do
  version=$(pinned "$name")
  [ -n "$version" ] || fail "constraints.txt: no version of $name; add $name==VERSION"
  present=("$folder/${name//-/_}-$version"-*.whl)
  if [ ${#present[@]} = 0 ]; then
    fetch "$name" "$version"
    present=("$folder/${name//-/_}-$version"-*.whl)
  fi
  [ ${#present[@]} = 1 ] || fail "$folder: ${#present[@]} wheels of $name $version; expected 1"
  wheels+=("${present[0]}")
done

# pip would install any other wheel as well, and refuses two versions of a package.
for file in "$folder"/*.whl; do
  [[ " ${wheels[*]} " == *" $file "* ]] || fail "$file: not on the list; remove it"
done

show() { awk -v bytes="$1" -v name="$2" 'BEGIN { printf "%6.2f MB  %s\n", bytes / 1e6, name }'; }

total=0
for file in "${wheels[@]}"; do
  bytes=$(stat -c %s "$file")
  total=$((total + bytes))
  show "$bytes" "$(basename "$file")"
done
show "$total" total
[ "$total" -le "$limit" ] || fail "$folder: $total bytes of wheels; at most $limit can travel"
