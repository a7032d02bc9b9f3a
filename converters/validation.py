"""Labelled data to choose and to confirm by: split by content, so that a picture stands on one side only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edgevision.converters.calibration import Data, Part, content_share
from edgevision.errors import DataError, UsageError
from edgevision.frame import Image, picture_digest
from edgevision.labelled import LabelledData, open_labelled
from edgevision.metrics.truth import Truth
from edgevision.progress import Tell
from edgevision.spec import ModelSpec

__all__ = ["Validation", "open_validation"]

#: Shares of the pictures: below the first to calibrate on, up to the second to choose by, above it to confirm.
_BESIDE = (0.0, 1 / 3)  # there is calibration data of another place
_ALONE = (0.25, 0.5)
#: What the readers of `edgevision.labelled` have labels for.
_READ = {
    "detect": "a COCO .json, or a folder with images/ and labels/ (YOLO)",
    "classify": "a folder with one folder of pictures for each class",
}
_LEAST = 2


@dataclass(slots=True)
class Validation:
    """Labelled pictures in parts.

    Attributes:
        selection: What recipes are chosen by.
        confirmation: What decides; `confirming` streams it.
        calibration: To calibrate on, without their labels; empty where ``--calibration`` gives other pictures.
        used: `picture_digest` of what has a part in making or choosing the model.
        repeated: Pictures of ``confirmation`` that are one of those, or come a second time.
    """

    selection: LabelledData
    confirmation: LabelledData
    calibration: LabelledData
    used: frozenset[bytes] = frozenset()
    repeated: int = 0

    @property
    def name(self) -> str:
        return self.confirmation.name

    @property
    def count(self) -> int:
        """Pictures that confirm."""
        return len(self.confirmation) - self.repeated

    @property
    def problems(self) -> list[str]:
        """Of all parts, one line each."""
        parts = (self.calibration, self.selection, self.confirmation)
        return list(dict.fromkeys(line for part in parts for line in part.problems))

    def confirming(self) -> Iterator[tuple[Image, Truth]]:
        """The pictures that decide: none had a part in making or choosing the model, and each comes once."""
        seen = set(self.used)
        for image, truth in self.confirmation:
            pixels = picture_digest(image)
            if pixels not in seen:
                seen.add(pixels)
                yield image, truth

    def as_data(self) -> Data:
        """The pictures without their labels, to calibrate on where no others were given."""
        parts = (self.calibration, self.selection, self.confirmation)
        calibration, selection, proof = (
            Part(purpose, len(part), [], partial(_pictures, part))
            for purpose, part in zip(("calibration", "selection", "proof"), parts, strict=True)
        )
        proof.used = self.used
        return Data(
            self.name,
            "labelled",
            calibration,
            selection,
            proof,
            self.calibration.digest,
            self.problems,
        )


def open_validation(
    path: Path,
    spec: ModelSpec,
    *,
    samples: int,
    data: Data | None,
    calibrate: bool,
    progress: Tell,
) -> Validation:
    """Reads every label and every picture once, so that what is wrong shows before the long work.

    Args:
        path: What `edgevision.labelled.open_labelled` takes.
        spec: Of the model: its task and its classes.
        samples: At most so many pictures to calibrate on and to choose by; all of the others confirm.
        data: Calibration data of another place; what is in it confirms nothing.
        calibrate: Whether pictures to calibrate on are wanted, and have to come from here.
        progress: Told how far it is.

    Raises:
        UsageError: No labels are read for the model's task.
        DataError: The labels do not fit the model or the pictures, or there is too little.
    """
    if spec.task not in _READ:
        raise UsageError(
            f"--validation reads no labels for the task {spec.task!r}",
            expected="; ".join(f"{task}: {form}" for task, form in _READ.items()),
            hint="leave it out: then agreement with fp32 decides (--min-agreement)",
        )
    labelled = open_labelled(path, spec.labels, task=spec.task)
    shares = {file: _share(file) for file in labelled.files}
    first, second = _ALONE if calibrate else _BESIDE

    def part(low: float, high: float) -> LabelledData:
        return labelled.where(lambda file: low <= (shares[file] if file else 1.0) < high)

    found = Validation(
        part(first, second).spread(samples), part(second, 2.0), part(0.0, first).spread(samples)
    )
    wanted = [found.selection, found.confirmation, *([found.calibration] if calibrate else [])]
    if min(map(len, wanted)) < _LEAST:
        raise _too_little(path, labelled)
    _examine(found, frozenset() if data is None else data.proof.used or frozenset(), progress)
    if found.count == 0:
        raise _too_little(path, labelled, " without those that it was calibrated or chosen on: 0")
    return found


def _share(file: Path) -> float:
    """Where a picture stands in 0…1, by its content; 1 if it cannot be read, which the last part reports."""
    try:
        return content_share(file)
    except OSError:
        return 1.0


def _examine(found: Validation, used: frozenset[bytes], progress: Tell) -> None:
    """Decodes and checks every picture and label once."""
    seen = set(used)
    for part, purpose in ((found.calibration, "calibration"), (found.selection, "selection")):
        for done, image in enumerate(_pictures(part), 1):
            seen.add(picture_digest(image))
            progress(f"reading labelled data for {purpose}", done, len(part))
    found.used = frozenset(seen)
    fresh, total = 0, len(found.confirmation)
    for image in _pictures(found.confirmation):
        pixels = picture_digest(image)
        fresh += pixels not in seen
        seen.add(pixels)
        progress("reading labelled data to confirm with", fresh, total)
    found.repeated = len(found.confirmation) - fresh


def _pictures(part: LabelledData) -> Iterator[Image]:
    for image, _ in part if len(part) else ():
        yield image


def _too_little(path: Path, labelled: LabelledData, more: str = "") -> DataError:
    return DataError(
        f"{path} is too little to validate on",
        received=f"{len(labelled)} labelled pictures{more}",
        expected="some hundreds; at least a dozen for a trial",
        hint="the pictures are split by their content: to choose a recipe by, and to confirm it with",
    )
