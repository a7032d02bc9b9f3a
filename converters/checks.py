"""What can be known to be wrong with an order before any work."""

from __future__ import annotations

from edgevision.converters.bake.baking import check_bakes
from edgevision.converters.bundle_writer import check_output
from edgevision.converters.calibration import Data
from edgevision.converters.conversion import TARGETS, Order
from edgevision.errors import UsageError

__all__ = ["MADE", "check_order"]

#: Precisions that are made of fp32 and proven against it.
MADE = {"int8", "fp16"}
_NO_BF16 = (
    "a Conv may be bfloat16 from opset 22 on only, and onnxruntime's CPU provider has none; where "
    "OpenVINO is installed it runs the fp32 variant in bf16: edgevision run --compute bf16"
)


def check_order(order: Order, data: Data | None = None) -> None:
    """Refuses what cannot be done.

    Args:
        order: What is wanted.
        data: Calibration pictures in place of the order's.

    Raises:
        OutputError: The result could not be put where it is wanted.
        UsageError: The options make no sense together.
    """
    check_output(order.output, force=order.force)
    check_bakes(order.bake)
    _check_variants(order)
    made = bool(MADE & set(order.precisions))
    given = {
        "--calibration": order.calibration is not None,
        "--random-calibration": order.random_calibration,
        "--validation": order.validation is not None,
    }
    options = [option for option, is_given in given.items() if is_given]
    if options and not made:
        what = "labelled data" if options == ["--validation"] else "calibration data"
        raise UsageError(
            f"there is {what}, and nothing that needs it: only fp32 would be written",
            expected="--precision int8 or fp16 with it",
        )
    if order.calibration is not None and order.random_calibration:
        raise UsageError(
            "--calibration and --random-calibration both say what to calibrate on",
            expected="one of them; pictures, wherever there are any",
        )
    if "int8" in order.precisions and not options and data is None:
        raise UsageError(
            "int8 needs calibration data, and none was given",
            expected="--calibration with a video or a folder of pictures that look like what the camera will see",
            hint="a minute of video from the camera is enough; random data would prove nothing",
        )


def _check_variants(order: Order) -> None:
    unknown = set(order.precisions) - {"fp32", *MADE}
    if unknown:
        raise UsageError(
            f"this version does not write {', '.join(sorted(unknown))}",
            expected="--precision int8, fp16 or both (fp32 is always written)",
            hint=_NO_BF16 if "bf16" in unknown else "",
        )
    if set(order.targets) - set(TARGETS):
        raise UsageError(
            f"unknown target {', '.join(sorted(set(order.targets) - set(TARGETS)))}",
            expected="of: " + ", ".join(TARGETS),
        )
    if "int8" in order.precisions and not order.targets:
        raise UsageError("int8 for no target", expected="--target with " + " or ".join(TARGETS))
