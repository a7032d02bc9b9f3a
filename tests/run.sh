#!/bin/sh
# All set-up and the tests, on a fresh machine: builds the wheel, installs it in a virtual environment, runs pytest.
#
#   sh tests/run.sh [pytest's arguments]      such as: -m slow, or -k preprocess
#
# VENV names the environment (default: .venv-test in the repository); without arguments the slow tests are left out.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
venv=${VENV:-$root/.venv-test}

[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/pip" install --quiet build "setuptools>=77" wheel
# Setuptools packs whatever an earlier build left there.
rm -rf "$root/build" "$root/dist"
"$venv/bin/python" -m build --quiet --wheel --no-isolation --outdir "$root/dist" "$root"
wheel=$(ls "$root"/dist/edgevision-*.whl)
"$venv/bin/pip" install --quiet "$wheel[dev]"
"$venv/bin/pip" install --quiet --force-reinstall --no-deps "$wheel"
cd "$root"
[ $# -gt 0 ] || set -- -m "not slow and not gpu"
exec "$venv/bin/pytest" "$@"
