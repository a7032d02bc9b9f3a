"""INT8 and FP16 of real models, made by `convert`, parsed and built by TensorRT-RTX 1.7.1; no GPU, nothing is run."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from edgevision.cli import main
from edgevision.onnx_header import read_header

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_spec("tensorrt_rtx_bindings") is None,
        reason="TensorRT-RTX is not installed: pip install 'edgevision[rtx]'",
    ),
]

ROOT = Path(__file__).resolve().parents[3]
#: Model → options of `convert`, how many of its layers may stay float32 in fp16 (what has not the range), and which
#: share of them is INT8 at least: the search puts many of BlazeFace's back to float.
MODELS = {
    "nanodet": (["--preset", "nanodet"], 0, 0.9),
    "efficientnet-lite0": (["--preset", "efficientnet-lite"], 0, 0.9),
    "centerface": (["--preset", "centerface", "--size", "480x640"], 12, 0.9),
    "movenet-lightning": (["--preset", "movenet"], 0, 0.9),
    "selfie": (["--preset", "selfie"], 2, 0.9),
    "blazeface-back": (["--preset", "blazeface"], 4, 0.8),
    "garments": ([], 0, 0.9),
}


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(map(str, arguments)))
    return int(ended.value.code or 0)


@pytest.mark.parametrize("bake", ["", "input"])
@pytest.mark.parametrize("name", MODELS)
def test_int8_and_fp16_of_real_models_are_built(
    name: str, bake: str, test_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options, may_stay, int8_share = MODELS[name]
    file = test_data / "models" / f"{name}.onnx"
    if name == "garments":
        file = ROOT / "edgevision/assets/garments.onnx"
    bundle = tmp_path / "m.evb"
    # Ranges of noise: what is built has the structure of one that was calibrated, and no accuracy.
    assert run(
        "convert", file, *options, "-o", bundle, "--precision", "int8,fp16", "--target", "trt",
        "--random-calibration", "--samples", 8, "--golden", "none", "--bake", bake,
    ) == 0  # fmt: skip
    for variant in ("fp16", "int8-trt"):
        capsys.readouterr()
        assert run("build", bundle, "--target", "rtx-sm89", "--variant", variant, "--json") == 0
        told = json.loads(capsys.readouterr().out)
        network = told["built"]["network"]
        layers = sum(network["layers"].values())
        assert network["layers"]["float16"] >= layers - may_stay
        if variant == "int8-trt":
            assert network["int8_layers"] >= int8_share * layers
        ops = read_header(bundle / f"{variant}.onnx").ops
        assert layers == ops["Conv"] + ops["ConvTranspose"] + ops["Gemm"] + ops["MatMul"]
