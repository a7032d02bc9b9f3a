"""As people use supervision: its frame generator and `Detections.with_nms` around an onnxruntime session."""

from __future__ import annotations

import onnxruntime as ort
import supervision as sv
from common import call, candidates, tensor, write_line


def main() -> None:
    given = call()
    session = ort.InferenceSession(given.model, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    with given.output.open("w") as lines:
        for index, frame in enumerate(sv.get_video_frames_generator(given.clip)):
            (output,) = session.run(None, {name: tensor(frame)})
            boxes, scores, ids = candidates(output, frame, given.score)
            found = sv.Detections(xyxy=boxes, confidence=scores, class_id=ids)
            found = found.with_nms(threshold=given.iou)
            kept = zip(found.xyxy, found.confidence, found.class_id, strict=True)
            rows = [(box.tolist(), float(score), int(number)) for box, score, number in kept]
            write_line(lines, index, rows)


if __name__ == "__main__":
    main()
