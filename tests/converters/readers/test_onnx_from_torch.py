"""Models that PyTorch itself saved, through the real command's code: what comes out runs and agrees."""

from __future__ import annotations

import importlib
import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import edgevision
from edgevision.bundle import open_bundle
from edgevision.converters.conversion import Conversion, Order
from edgevision.converters.convert import convert
from edgevision.converters.settings import Overrides
from edgevision.errors import EdgevisionError, ModelError, UsageError
from edgevision.progress import Progress

pytestmark = pytest.mark.slow
HERE = Path(__file__).parent
REASON = "PyTorch is not installed: pip install 'edgevision[torch]'"


@pytest.fixture
def torch() -> Any:
    pytest.importorskip("onnxscript", reason=REASON)
    return pytest.importorskip("torch", reason=REASON)


@pytest.fixture
def nets(torch: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module with the networks; the child finds it too, for spawn hands ``sys.path`` on."""
    monkeypatch.syspath_prepend(str(HERE))
    yield importlib.import_module("nets")
    sys.modules.pop("nets", None)


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    head = '[input]\nsize = [64, 64]\nresize = "stretch"\n[output]\ndecoder = '
    (tmp_path / "classify.toml").write_text(f'task = "classify"\n{head}"softmax"\n')
    detect = f'task = "detect"\nlabels = ["a", "b"]\n{head}"yolov8"\n'
    (tmp_path / "detect.toml").write_text(detect)
    return tmp_path


def run(model: Path, config: Path, **more: Any) -> Conversion:
    order = Order(
        model=model, output=model.parent / f"{model.stem}.evb", overrides=Overrides(config=config),
        force=True, **more,
    )  # fmt: skip
    return convert(order, Progress(quiet=True))


def exported(torch: Any, module: Any, path: Path, *inputs: Any, **options: Any) -> Path:
    inputs = inputs or (torch.rand(1, 3, 64, 64),)
    torch.export.save(torch.export.export(module.eval(), inputs, **options), path)
    return path


def agrees(bundle: Path) -> dict[str, Any]:
    agreement: dict[str, Any] = open_bundle(bundle).manifest["provenance"]["source"]["agreement"]
    assert agreement["pictures"] == 4
    assert agreement["relative_difference"] < 1e-4
    assert agreement["cosine"] > 0.99999
    return agreement


def test_a_program_of_torch_export_becomes_a_bundle(torch: Any, nets: Any, configs: Path) -> None:
    module = nets.classifier().eval()
    path = exported(torch, module, configs / "m.pt2")
    conversion = run(path, configs / "classify.toml")
    agrees(configs / "m.evb")
    source = open_bundle(configs / "m.evb").manifest["provenance"]["source"]
    assert source["packages"]["torch"] == torch.__version__
    assert set(source["packages"]) == {"torch", "onnxscript"}
    # Independent of how the reader compares: PyTorch here, onnxruntime through the bundle.
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    tensor = torch.from_numpy(image[:, :, ::-1].transpose(2, 0, 1)[None].astype(np.float32) / 255)
    expected = module(tensor).softmax(1).detach().numpy()[0]
    with edgevision.open(configs / "m.evb") as model:
        result = model(image)
    np.testing.assert_allclose(result.scores, expected[list(result.class_ids)], atol=1e-5)
    assert conversion.made[0].variant.opset >= 17


def test_a_detector_with_an_open_batch_becomes_one_for_one_picture(
    torch: Any, nets: Any, configs: Path
) -> None:
    batch = {"images": {0: torch.export.Dim("batch")}}
    path = exported(
        torch, nets.detector(), configs / "m.pt2", torch.rand(2, 3, 64, 64), dynamic_shapes=batch
    )
    run(path, configs / "detect.toml")
    agrees(configs / "m.evb")
    shape = onnx.load(configs / "m.evb" / "fp32.onnx").graph.input[0].type.tensor_type.shape
    assert [d.dim_value for d in shape.dim] == [1, 3, 64, 64]


@pytest.mark.parametrize("how", ["script", "trace"])
def test_torchscript_becomes_a_bundle(torch: Any, nets: Any, configs: Path, how: str) -> None:
    module = nets.detector().eval()
    arguments = [torch.rand(1, 3, 64, 64)] if how == "trace" else []
    getattr(torch.jit, how)(module, *arguments).save(str(configs / "m.pt"))
    run(configs / "m.pt", configs / "detect.toml")
    agrees(configs / "m.evb")


@pytest.mark.parametrize("shape", ["plain", "old", "checkpoint", "parallel"])
def test_a_state_dict_with_its_factory_becomes_a_bundle(
    torch: Any, nets: Any, configs: Path, shape: str
) -> None:
    weights = nets.seeded(nets.Detector).state_dict()
    saved = {
        "checkpoint": {"epoch": 3, "state_dict": weights},
        "parallel": {f"module.{name}": value for name, value in weights.items()},
    }.get(shape, weights)
    torch.save(saved, configs / "m.pt", _use_new_zipfile_serialization=shape != "old")
    run(configs / "m.pt", configs / "detect.toml", factory="nets:detector")
    agrees(configs / "m.evb")
    stored = {t.name for t in onnx.load(configs / "m.evb" / "fp32.onnx").graph.initializer}
    assert "stem.weight" in stored, "names of the weights stay"
    tensor = next(
        t
        for t in onnx.load(configs / "m.evb" / "fp32.onnx").graph.initializer
        if t.name == "stem.weight"
    )
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(tensor), weights["stem.weight"])


def test_int8_of_it_is_made_and_proven(
    torch: Any, nets: Any, configs: Path, write_pictures: Callable[..., Path]
) -> None:
    exported(torch, nets.detector(), configs / "m.pt2")
    data = write_pictures(configs / "pictures", 160)
    conversion = run(
        configs / "m.pt2", configs / "detect.toml", precisions=("int8",), calibration=data,
        least=0.0, keep_passing=True, samples=60,
    )  # fmt: skip
    proof = conversion.made[1].proof
    assert proof is not None
    assert proof.outputs["cat"]["cosine"] > 0.99


def test_the_same_file_gives_the_same_bytes(torch: Any, nets: Any, configs: Path) -> None:
    exported(torch, nets.detector(), configs / "m.pt2")
    identities = set()
    for _ in range(2):
        run(configs / "m.pt2", configs / "detect.toml")
        identities.add(open_bundle(configs / "m.evb").identity)
    assert len(identities) == 1
    content = (configs / "m.evb" / "fp32.onnx").read_bytes()
    assert b"stack_trace" not in content
    assert os.fsencode(HERE) not in content


def test_a_second_input_in_a_dict_is_fed_with_zeros(torch: Any, nets: Any, configs: Path) -> None:
    more = {"bias": torch.ones(1, 3)}
    exported(torch, nets.masked(), configs / "m.pt2", torch.rand(1, 3, 64, 64), more)
    run(configs / "m.pt2", configs / "classify.toml")
    report = json.loads((configs / "m.evb" / "report.json").read_bytes())
    assert report["inputs_fed_with_zeros"] == ["more_bias"]


def refusal(model: Path, config: Path, **more: Any) -> EdgevisionError:
    with pytest.raises(EdgevisionError) as caught:
        run(model, config, **more)
    assert "Traceback" not in str(caught.value)
    assert not model.with_suffix(".evb").exists()
    return caught.value


def state(torch: Any, module: Any, path: Path) -> Path:
    torch.save(module.state_dict(), path)
    return path


@pytest.mark.parametrize(
    ("factory", "words"),
    [
        ("nets:Chooses", ["decides by the values", "nets.py", "torch.cond"]),
        ("nets:Unsupported", ["no equivalent in ONNX", "aten.linalg_qr"]),
        ("nets:NotANumber", ["NaN or infinity in PyTorch itself"]),
        ("nets:masked", ["other inputs than one", "images, more", ".pt2"]),
        ("nets:Detector", ["do not fit the network", "stem.weight"]),
        ("nets:no_network", ["gives no network", "str", "torch.nn.Module"]),
        ("nets:fails", ["gives no network", "KeyError", "depth"]),
        ("nets:absent", ["gives no network", "absent"]),
        ("absent:net", ["gives no network", "absent"]),
        ("nets", ["--factory nets", "module:function"]),
    ],
)
def test_networks_that_cannot_be_read_say_why(
    torch: Any, nets: Any, configs: Path, factory: str, words: list[str]
) -> None:
    kind = getattr(nets, factory.partition(":")[2], None)
    own = (isinstance(kind, type) and kind is not nets.Detector) or factory == "nets:masked"
    path = state(torch, kind() if own else nets.classifier(), configs / "m.pt")
    error = refusal(path, configs / "classify.toml", factory=factory)
    for word in words:
        assert word in str(error)


def test_torchscript_that_cannot_be_read_says_why(torch: Any, nets: Any, configs: Path) -> None:
    path = configs / "m.pt"
    torch.jit.script(nets.Unsupported()).save(str(path))
    assert "aten::linalg_qr" in refusal(path, configs / "classify.toml").received
    two = torch.jit.trace(lambda a, b: a + b, (torch.rand(1), torch.rand(1)))
    two.save(str(path))
    assert "other inputs than one" in refusal(path, configs / "classify.toml").problem
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert "truncated" in refusal(path, configs / "classify.toml").problem


def test_an_operator_of_an_extension_is_named(torch: Any, nets: Any, configs: Path) -> None:
    library = torch.library.Library("edgevision_test", "DEF")
    library.define("twice(Tensor x) -> Tensor")
    library.impl("twice", lambda x: x * 2, "CompositeExplicitAutograd")

    class Uses(torch.nn.Module):  # type: ignore[misc]
        def forward(self, images: Any) -> Any:
            return torch.ops.edgevision_test.twice(images)

    exported(torch, Uses(), configs / "m.pt2")
    torch.jit.trace(Uses(), torch.rand(1, 3, 64, 64)).save(str(configs / "m.pt"))
    for name in ("m.pt2", "m.pt"):
        error = refusal(configs / name, configs / "classify.toml")
        assert error.received == "edgevision_test::twice"
        assert "torch.onnx.export" in error.hint


def test_a_whole_pickled_model_is_not_loaded(torch: Any, nets: Any, configs: Path) -> None:
    torch.save(nets.classifier(), configs / "m.pt")
    error = refusal(configs / "m.pt", configs / "classify.toml", factory="nets:classifier")
    assert "runs code" in error.problem
    assert "nets.Classifier" in error.received


def test_a_pickle_inside_a_program_is_not_loaded(torch: Any, nets: Any, configs: Path) -> None:
    """PyTorch 2.13 itself would run it: it loads example inputs with weights_only=False as a fallback."""
    import zipfile

    class Attack:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {configs / 'ran'}",)

    exported(torch, nets.classifier(), configs / "good.pt2")
    attack = io.BytesIO()
    torch.save((Attack(),), attack)
    with (
        zipfile.ZipFile(configs / "good.pt2") as good,
        zipfile.ZipFile(configs / "m.pt2", "w") as bad,
    ):
        for name in good.namelist():
            sample = "sample_inputs" in name
            bad.writestr(name, attack.getvalue() if sample else good.read(name))
    assert "system" in refusal(configs / "m.pt2", configs / "classify.toml").received
    assert not (configs / "ran").exists()


def test_a_model_saved_in_training_mode_is_refused(torch: Any, nets: Any, configs: Path) -> None:
    program = torch.export.export(nets.classifier().train(), (torch.rand(1, 3, 64, 64),))
    torch.export.save(program, configs / "m.pt2")
    error = refusal(configs / "m.pt2", configs / "classify.toml")
    assert isinstance(error, ModelError)
    assert "eval()" in error.hint


def test_a_truncated_program_is_an_error_of_ours(torch: Any, nets: Any, configs: Path) -> None:
    content = exported(torch, nets.classifier(), configs / "m.pt2").read_bytes()
    for share in (0.3, 0.9):
        (configs / "m.pt2").write_bytes(content[: int(len(content) * share)])
        assert "truncated" in refusal(configs / "m.pt2", configs / "classify.toml").problem


def test_a_factory_with_a_program_makes_no_sense(torch: Any, nets: Any, configs: Path) -> None:
    exported(torch, nets.classifier(), configs / "m.pt2")
    error = refusal(configs / "m.pt2", configs / "classify.toml", factory="nets:classifier")
    assert isinstance(error, UsageError)
