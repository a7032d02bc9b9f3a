#!/bin/sh
# Everything on a fresh machine: set up, convert a detector to a proven INT8 bundle, run it, measure it.
#
#   sh examples/quickstart.sh                                  the detector of garments that comes with edgevision
#   sh examples/quickstart.sh MODEL.onnx PRESET LABELS.txt VIDEO [OUTPUT_FOLDER]              a detector of yours
#
# Written is demo/, or OUTPUT_FOLDER (default: quickstart/); Python packages go to .venv/ in the repository.
set -eu
if [ $# -gt 0 ] && [ $# -lt 4 ]; then
    sed -n '2,7s/^# \{0,1\}//p' "$0"
    exit 2
fi
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)

[ -x "$root/.venv/bin/python" ] || python3 -m venv "$root/.venv"
# Each time, so that after a pull it is this version that runs.
"$root/.venv/bin/pip" install --quiet "$root[convert]"
edgevision=$root/.venv/bin/edgevision
[ $# -gt 0 ] || exec "$edgevision" demo --force

model=$1 preset=$2 labels=$3 video=$4 out=${5:-quickstart}
mkdir -p "$out"
"$edgevision" convert "$model" --preset "$preset" --labels "$labels" --calibration "$video" \
    --precision int8 -o "$out/model.evb" --force
"$edgevision" run "$out/model.evb" "$video" "$out/annotated.mp4" "$out/results.jsonl" --force
"$edgevision" bench "$out/model.evb" "$video" --output "$out/bench.json" --force
echo "Look at $out/annotated.mp4 and read $out/model.evb/report.md"
