from __future__ import annotations

import json
import weakref

import numpy as np
import pytest

import edgevision as ev
from edgevision import registry
from edgevision.errors import (
    BackendError,
    BundleError,
    DataError,
    DependencyError,
    EdgevisionError,
    SpecError,
    UsageError,
)


def test_five_lines_of_python(bundle, squares_video):
    seen = []
    with ev.open(bundle, score=0.6) as model:
        for frame, result in model.stream(str(squares_video)):
            seen.append((frame.index, result.boxes_xyxy.shape[1], len(result.scores)))
    assert [s[:2] for s in seen] == [(i, 4) for i in range(12)]


def test_a_loop_of_one_s_own(bundle, draw_square):
    with ev.open(str(bundle), score=0.6) as model:
        first = model(draw_square("red"))
        second = model(draw_square("blue", (40, 0)))
    np.testing.assert_allclose(first.boxes_xyxy, [[16, 24, 32, 40]], atol=1e-3)
    np.testing.assert_allclose(second.boxes_xyxy, [[40, 0, 56, 16]], atol=1e-3)
    assert (first.label(0), second.label(0)) == ("red", "blue")
    assert first.scores[0] == pytest.approx(1, abs=1e-3)


def test_a_picture_is_only_read(bundle, draw_square):
    image = draw_square()
    image.flags.writeable = False
    with ev.open(bundle) as model:
        model(image)


@pytest.mark.parametrize("view", ["mirrored", "sliced", "transposed"])
def test_pictures_with_any_strides(bundle, draw_square, view):
    image = draw_square("green", (16, 24))
    wide = np.zeros((64, 128, 3), np.uint8)
    wide[:, ::2] = image
    seen = {
        "mirrored": (image[:, ::-1], [32, 24, 48, 40]),
        "sliced": (wide[:, ::2], [16, 24, 32, 40]),
        "transposed": (image.transpose(1, 0, 2), [24, 16, 40, 32]),
    }
    picture, box = seen[view]
    with ev.open(bundle, score=0.6) as model:
        np.testing.assert_allclose(model(picture).boxes_xyxy, [box], atol=1e-3)


def test_what_is_known_of_a_model(bundle):
    with ev.open(bundle, threads=1) as model:
        assert (model.variant.id, model.backend, model.labels[0]) == ("fp32", "ort", "red")
        assert model.executed.threads == 1
        assert model.load_ms > 0


@pytest.mark.parametrize(
    ("choices", "error"),
    [
        ({"hint": "fast"}, UsageError),
        ({"backend": "abacus"}, UsageError),
        ({"variant": "x"}, UsageError),
        ({"score": 2}, SpecError),
        ({"iou": -1}, SpecError),
        ({"classes": ["unicorn"]}, SpecError),
        ({"classes": [3]}, SpecError),
    ],
)
def test_choices_that_make_no_sense(bundle, choices, error):
    with pytest.raises(error):
        ev.open(bundle, **choices)


def test_a_source_is_closed_when_the_stream_ends_or_fails(bundle, list_source, draw_square):
    with ev.open(bundle) as model:
        ended, left = list_source([draw_square()] * 3), list_source([draw_square()] * 3)
        torn = list_source([DataError("torn")])
        assert len(list(model.stream(ended))) == 3
        stream = model.stream(left)
        next(stream)
        stream.close()
        with pytest.raises(DataError):
            next(model.stream(torn))
    assert (ended.closed, left.closed, torn.closed) == (1, 1, 1)


def test_a_source_s_name_does_not_stay_for_the_next(models, tmp_path, squares_video, draw_square):
    import cv2

    cv2.imwrite(str(tmp_path / "a.png"), draw_square())
    with ev.open(models.detector) as model:
        assert [f.source for f, _ in model.stream(str(tmp_path))] == ["a.png"]
        assert {f.source for f, _ in model.stream(str(squares_video))} == {""}


def test_a_model_that_was_changed_is_not_loaded(bundle):
    with (bundle / "fp32.onnx").open("ab") as file:
        file.write(b"\x00")
    with pytest.raises(BundleError, match="not the file"):
        ev.open(bundle)


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("decoder", "../x"),
        ("decoder", "softmax"),
        ("params", {"speed": 3}),
        ("params", {"score": "x"}),
    ],
)
def test_an_output_spec_that_does_not_fit(bundle, edit_manifest, draw_square, part, value):
    edit_manifest(bundle, lambda m: m["variants"][0]["output"].update({part: value}))
    with pytest.raises(ev.EdgevisionError), ev.open(bundle) as model:
        model(draw_square())


def test_a_bundle_s_parameters_cannot_replace_the_labels(bundle, edit_manifest, draw_square):
    params = {"labels": ["x"], "score": 0.6}
    edit_manifest(bundle, lambda m: m["variants"][0]["output"].update(params=params))
    with ev.open(bundle) as model:
        assert model(draw_square()).label(0) == "red"


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 0, 3), np.uint8)]
)
def test_what_is_no_picture(bundle, image):
    with ev.open(bundle) as model, pytest.raises(DataError, match=r"uint8 \(height, width, 3\)"):
        model(image)


def test_a_model_without_detections_gives_empty_arrays(bundle):
    with ev.open(bundle) as model:
        result = model(np.zeros((10, 10, 3), np.uint8))
    assert (result.boxes_xyxy.shape, result.scores.shape, len(result)) == ((0, 4), (0,), 0)


@pytest.mark.parametrize("value", [None, [[1]], "photo.jpg"])
def test_what_is_no_array_is_no_picture(bundle, value):
    with ev.open(bundle) as model, pytest.raises(DataError, match="no picture") as told:
        model(value)
    assert "imread" in told.value.hint


@pytest.mark.parametrize("hint", ["latency", "throughput"])
def test_a_closed_model_is_freed_and_says_so(bundle, draw_square, hint):
    model = ev.open(bundle, hint=hint)
    model(draw_square())
    engine = weakref.ref(model.session._session)
    model.close()
    model.close()
    assert engine() is None
    with pytest.raises(BackendError, match="closed"):
        model(draw_square())


@pytest.mark.parametrize("threads", [-1, 257, 20_000])
def test_threads_within_reason(bundle, threads):
    with pytest.raises(UsageError, match="threads") as told:
        ev.open(bundle, threads=threads)
    assert told.value.received == f"{threads} threads"


@pytest.fixture
def proven(bundle, edit_manifest):
    """The bundle, with its fp32 listed as proven in engines, at these speeds."""

    def write(speeds):
        lines = [
            {"backend": backend, "compute": compute, "verdict": "pass"}
            for backend, compute in (name.split("/")[1:] for name in speeds)
        ]
        edit_manifest(bundle, lambda m: m["variants"][0].update(verified=lines))
        triples = {name: {"speedup": speed} for name, speed in speeds.items()}
        (bundle / "timings.json").write_text(json.dumps({"triples": triples}))
        return bundle

    return write


@pytest.fixture
def broken_engine(monkeypatch):
    """Makes the backend ``openvino`` fail with this error when it is opened."""

    def break_it(error):
        def load(kind, name, plain=registry.load):
            if name == "openvino":
                raise error
            return plain(kind, name)

        monkeypatch.setattr(registry, "load", load)

    return break_it


def test_auto_takes_the_fastest_that_was_proven(proven):
    with ev.open(proven({"fp32/fake/none": 3.0})) as model:
        assert model.backend == "fake"
        assert model.choice.reason == "proven, and measured at 3.00× fp32"
    with ev.open(proven({"fp32/fake/none": 3.0}), backend="ort") as model:
        assert model.backend == "ort"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (DependencyError("backend 'openvino' needs openvino", hint="pip"), "needs openvino"),
        (BackendError("OpenVINO cannot load it"), "cannot load it"),
        (UsageError("not in that precision"), "not in that precision"),
    ],
)
def test_auto_falls_back_and_says_why(proven, broken_engine, draw_square, error, said):
    broken_engine(error)
    path = proven({"fp32/openvino/bf16": 2.0})
    with ev.open(path, score=0.6) as model:
        assert model.backend == "ort"
        assert model.choice.reason.endswith(f"; not fp32 in openvino (bf16): {error.problem}")
        assert said in model.choice.reason
        assert len(model(draw_square())) == 1
    with pytest.raises(type(error), match=said):
        ev.open(path, backend="openvino")


def test_auto_tries_one_after_another(proven, broken_engine):
    broken_engine(BackendError("broken"))
    speeds = {"fp32/openvino/bf16": 3.0, "fp32/openvino/fp32": 2.0, "fp32/fake/none": 1.5}
    with ev.open(proven(speeds)) as model:
        assert model.backend == "fake"
        assert model.choice.reason == (
            "proven, and measured at 1.50× fp32"
            "; not fp32 in openvino (bf16): broken; not fp32 in openvino (fp32): broken"
        )


def test_when_nothing_runs_every_refusal_is_told(proven, broken_engine):
    broken_engine(BackendError("no bf16 here"))
    with pytest.raises(
        EdgevisionError, match=r"before that, not fp32 in openvino \(bf16\): no bf16 here"
    ):
        ev.open(proven({"fp32/openvino/bf16": 2.0}), compute="bf16")


def test_a_damaged_bundle_is_no_reason_to_fall_back(proven):
    path = proven({"fp32/fake/none": 3.0})
    with (path / "fp32.onnx").open("ab") as file:
        file.write(b"\x00")
    with pytest.raises(BundleError, match="not the file"):
        ev.open(path)
