#!/bin/sh
# create_venv.sh DIRECTORY: a virtual environment with pip, also where Debian left out python3-venv.
set -eu
venv=$1
python=${PYTHON:-python3}

"$python" - <<'CHECK' || exit 1
import sys
if sys.version_info < (3, 11):
    sys.exit(f"Candlewick needs Python 3.11 or newer; this is {sys.version.split()[0]}."
             " Name another one: make PYTHON=python3.13 ...")
CHECK

works() { "$venv/bin/python" -m pip --version >/dev/null 2>&1; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }

works && exit 0
rm -rf "$venv"
"$python" -m venv "$venv" >/dev/null 2>&1 && works && exit 0

# Without ensurepip `venv` fails; a pip or virtualenv that is there helps, and so does Debian.
rm -rf "$venv"
"$python" -m virtualenv -q "$venv" >/dev/null 2>&1 && works && exit 0
rm -rf "$venv"
"$python" -m venv --without-pip "$venv" >/dev/null 2>&1 &&
    "$python" -m pip --python "$venv/bin/python" install -q pip >/dev/null 2>&1 && works && exit 0
rm -rf "$venv"
if command -v apt-get >/dev/null 2>&1; then
    echo "python3-venv is missing; installing it with apt-get" >&2
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    { as_root apt-get install -qq -y python3-venv "python$version-venv" ||
        { as_root apt-get update -qq && as_root apt-get install -qq -y python3-venv; }; } >&2 || true
    "$python" -m venv "$venv" >/dev/null 2>&1 && works && exit 0
fi
rm -rf "$venv"
echo "cannot create a virtual environment with pip in $venv: install python3-venv" \
    "(Debian, Ubuntu: sudo apt-get install python3-venv) and try again" >&2
exit 1
