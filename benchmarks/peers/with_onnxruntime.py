"""A plain loop: OpenCV reads, numpy prepares, onnxruntime runs as it is opened, numpy and OpenCV decode."""

from __future__ import annotations

import cv2
import onnxruntime as ort
from common import call, detections, tensor, write_line


def main() -> None:
    given = call()
    session = ort.InferenceSession(given.model, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    capture, index = cv2.VideoCapture(given.clip), 0
    with given.output.open("w") as lines:
        while True:
            fine, frame = capture.read()
            if not fine:
                break
            (output,) = session.run(None, {name: tensor(frame)})
            write_line(lines, index, detections(output, frame, given.score, given.iou))
            index += 1


if __name__ == "__main__":
    main()
