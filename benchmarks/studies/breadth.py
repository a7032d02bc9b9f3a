"""Many architectures in one run of `edgevision convert --list`: what fails, and what each became.

    pip install '.[convert,torch]' torchvision
    python benchmarks/studies/breadth.py OUTPUT [--only NAME,NAME] [--precision fp16,int8] [--samples N]

The models:

- the topologies that the ``onnx`` wheel ships for its backend tests (``light_*.onnx``, opset 9): the real graphs
  of AlexNet, DenseNet-121, Inception v1 and v2, ResNet-50, ShuffleNet, SqueezeNet, VGG-19 and ZFNet. Their
  weights are constants, so every picture gets the same answer and nothing can be proven of them;
- torchvision's classifiers with random weights, as programs of torch.export. Batch norm takes its statistics from
  photographs, and the last layer's bias is set so that the mean logit of every class is 0 there: so the answers differ
  from picture to picture, and agreement means something.

A gate that is missed is no failure here: nobody trained these networks. Exit status 1 if a conversion failed.
The photographs are crops of the test data (`accuracy_data`).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx

SIDE = 224
#: Pictures to calibrate on, choose on and prove on, split by `convert`.
PICTURES = 160
#: Pictures that batch norm's statistics come from.
BATCH = 16
#: To calibrate and to prove on where the answer is always the same.
FEW = 8

#: torchvision's names. The first ten are what the project promises; the rest are other kinds of layers.
TORCH = (
    "resnet18", "mobilenet_v2", "mobilenet_v3_small", "efficientnet_b0", "shufflenet_v2_x1_0",
    "squeezenet1_1", "densenet121", "googlenet", "regnet_y_400mf", "convnext_tiny",
    "mnasnet0_5", "vit_b_32", "swin_t",
)  # fmt: skip


def light() -> dict[str, Path]:
    """The onnx wheel's own topologies, by name."""
    folder = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
    return {path.stem: path for path in sorted(folder.glob("light_*.onnx"))}


def write_pictures(folder: Path) -> list[np.ndarray]:
    """Crops of photographs as files; gives those that batch norm sees, which are none of them."""
    sys.path.insert(0, str(Path(__file__).parent))
    from accuracy_data import photographs

    data = photographs()
    folder.mkdir()
    for number, picture in enumerate(data.proof):
        if number < PICTURES:
            cv2.imwrite(str(folder / f"{number:03d}.png"), picture)
    return [
        cv2.resize(p, (SIDE, SIDE)) for p, _ in zip(data.calibration, range(BATCH), strict=False)
    ]


def torchvision_models() -> Any:
    """``torchvision.models``; its compiled operators, which find boxes, may be missing.

    PyPI's wheel of torchvision is built for CUDA. Beside PyTorch's wheel for CPUs its library cannot be loaded, and
    importing it fails where it describes two of the operators in it: they are declared here. No classifier has them.
    """
    import torch

    try:
        from torchvision import models
    except RuntimeError:
        for name in [name for name in sys.modules if name.startswith("torchvision")]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        torchvision_models.library = library  # type: ignore[attr-defined] - it undoes itself when it is dropped
        from torchvision import models
    return models


def export(name: str, path: Path, pictures: list[np.ndarray]) -> None:
    """A network of random weights that tells pictures apart, as a ``.pt2`` file."""
    import torch

    torch.manual_seed(0)
    module = torchvision_models().get_model(name, weights=None)
    rgb = np.stack(pictures)[..., ::-1].transpose(0, 3, 1, 2) / 255.0
    images = torch.from_numpy(np.ascontiguousarray(rgb, dtype=np.float32) * 4 - 2)
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.momentum = None  # the plain mean over all that it sees
        module.train()
        for layer in module.modules():
            if isinstance(layer, torch.nn.Dropout):
                layer.eval()
        module(images)
        module.eval()
        last = [m for m in module.modules() if isinstance(m, torch.nn.Linear | torch.nn.Conv2d)][-1]
        means: list[Any] = []
        hook = last.register_forward_hook(lambda *seen: means.append(seen[2]))
        module(images)
        hook.remove()
        mean = means[0].mean((0, 2, 3)) if means[0].ndim == 4 else means[0].mean(0)
        last.bias -= mean
    torch.export.save(torch.export.export(module, (images[:1],)), path)


def write_list(folder: Path, models: dict[str, Path], precision: str, samples: int) -> Path:
    lines = [
        'preset = "imagenet"',
        f'precision = "{precision}"',
        "keep-passing = true",
        "force = true",
    ]
    if precision:
        lines += ['calibration = "pictures"', f"samples = {samples}"]
    for name, path in models.items():
        lines += ["", "[[model]]", f"model = {json.dumps(str(path))}", f'name = "{name}"']
        lines += [f"samples = {FEW}"] if precision and name.startswith("light_") else []
    (folder / "models.toml").write_text("\n".join(lines) + "\n")
    return folder / "models.toml"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("output", type=Path, help="an empty folder, or none yet")
    parser.add_argument("--only", default="", help="names, with commas between them")
    parser.add_argument("--precision", default="fp16,int8")
    parser.add_argument("--samples", type=int, default=PICTURES)
    arguments = parser.parse_args()
    folder: Path = arguments.output
    folder.mkdir(exist_ok=True)
    wanted = set(filter(None, arguments.only.split(",")))
    models = {name: path for name, path in light().items() if not wanted or name in wanted}
    pictures = write_pictures(folder / "pictures")
    for name in TORCH:
        if not wanted or name in wanted:
            print(f"exporting {name}", flush=True)
            models[name] = Path(f"{name}.pt2")
            export(name, folder / models[name], pictures)
    models_file = write_list(folder, models, arguments.precision, arguments.samples)
    command = Path(sys.executable).with_name("edgevision")
    subprocess.run(
        [command, "convert", "--list", models_file, "-o", folder / "bundles"], check=False
    )
    summary = json.loads((folder / "bundles" / "summary.json").read_bytes())
    failed = [
        entry["name"] for entry in summary["models"] if entry["status"] not in ("written", "missed")
    ]
    print(f"{len(models)} models, {len(failed)} failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
