#!/bin/sh
# Makes the other side's environment for run.py: ultralytics and supervision in a virtual environment of its own.
#
#   sh benchmarks/peers/make_environment.sh FOLDER [PYTHON]
#
# Ultralytics is AGPL-3.0: it is no part of this project, nothing here imports it, and FOLDER can be thrown
# away afterwards. numpy, OpenCV and onnxruntime come in the versions that PYTHON (the one beside `edgevision`)
# has, so that both sides decode and compute with the same libraries. A CPU build of PyTorch is the fair one
# here: where pip would take one for CUDA, name the index of the CPU builds in PIP_INDEX_URL or
# PIP_EXTRA_INDEX_URL, or a version that has one in TORCH (TORCH='torch==…').
set -eu
folder=$1 python=${2:-python3} torch=${TORCH:-torch}
same=$("$python" -c '
from importlib.metadata import version
print(*(f"{name}=={version(name)}" for name in ("numpy", "onnxruntime", "opencv-python")))')
"$python" -m venv "$folder"
cd "$folder/bin"
# shellcheck disable=SC2086 - a list of names
./pip install --quiet "$torch" torchvision ultralytics supervision onnx $same

# A torchvision that was built for CUDA does not load beside a CPU build of PyTorch. Of its operators a
# prediction needs one, NMS: OpenCV's then takes that place, which is compiled code too.
if ! ./python -c 'import torchvision' 2>/dev/null; then
    echo "torchvision's operators do not load beside this PyTorch: OpenCV's NMS takes that place"
    place=$(./python -c 'from importlib.util import find_spec; print(find_spec("torchvision").origin)')
    cat >>"$(dirname "$place")/extension.py" <<'END'


def _nms(boxes, scores, threshold):
    import cv2

    rectangles = torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1).double().numpy()
    return torch.as_tensor(cv2.dnn.NMSBoxes(rectangles, scores.numpy(), 0.0, threshold), dtype=torch.int64)


def _assert_has_ops():
    pass


_library = torch.library.Library("torchvision", "DEF")
for _name in ("nms", "qnms"):
    _library.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
_library.impl("nms", _nms, "CPU")
END
    ./python -c 'import torchvision'
fi
./pip list 2>/dev/null | grep -iE '^(ultralytics|supervision|torch|torchvision|onnxruntime|opencv-python|numpy) '
