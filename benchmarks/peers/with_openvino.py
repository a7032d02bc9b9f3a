"""A plain loop around OpenVINO's Python API, in the precision that is named (its own choice here would be bf16)."""

from __future__ import annotations

import cv2
import openvino as ov
from common import call, detections, tensor, write_line


def main() -> None:
    given = call()
    config = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": given.options[0]}
    compiled = ov.Core().compile_model(given.model, "CPU", config)
    capture, index = cv2.VideoCapture(given.clip), 0
    with given.output.open("w") as lines:
        while True:
            fine, frame = capture.read()
            if not fine:
                break
            output = compiled(tensor(frame))[0]
            write_line(lines, index, detections(output, frame, given.score, given.iou))
            index += 1


if __name__ == "__main__":
    main()
