"""A plain loop with OpenCV alone: `cv2.dnn` reads the ONNX file and runs it on the CPU."""

from __future__ import annotations

import cv2
from common import SIZE, call, detections, letterbox, write_line


def main() -> None:
    given = call()
    net = cv2.dnn.readNetFromONNX(given.model)
    capture, index = cv2.VideoCapture(given.clip), 0
    with given.output.open("w") as lines:
        while True:
            fine, frame = capture.read()
            if not fine:
                break
            net.setInput(
                cv2.dnn.blobFromImage(letterbox(frame), 1 / 255, (SIZE, SIZE), swapRB=True)
            )
            output = net.forward()
            write_line(lines, index, detections(output, frame, given.score, given.iou))
            index += 1


if __name__ == "__main__":
    main()
