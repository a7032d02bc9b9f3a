"""Labelled pictures as one stream of (picture, truth), whatever format they come in."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgevision.errors import DataError
from edgevision.frame import Image, picture_digest
from edgevision.metrics.truth import ClassTruth, Truth
from edgevision.sources.images import read_image
from edgevision.text import counted, printable

__all__ = ["Item", "LabelledData"]


@dataclass(frozen=True, slots=True)
class Item:
    """One labelled picture, not yet decoded.

    Attributes:
        name: In the data, for messages.
        path: Its file, known to lie inside the data; it may be missing. None if there is none.
        truth: From the decoded picture's height and width, pixels. Raises `DataError` for a box beside it.
        size: Height and width its labels were made for; None if they do not say.
    """

    name: str
    path: Path | None
    truth: Callable[[int, int], Truth]
    size: tuple[int, int] | None = None


class LabelledData:
    """Iterating gives ``(picture, truth)``, as often as wanted, always in the same order.

    Pictures are uint8 ``(H, W, 3)`` BGR, turned upright as their EXIF says, and boxes refer to those pixels.
    A picture that is missing, cannot be decoded or has another size than its labels were made for is
    skipped and named in ``problems``.

    Args:
        name: File or folder name.
        kind: ``coco``, ``yolo`` or ``folders``.
        task: ``detect`` or ``classify``.
        labels: The model's class names, by class id.
        classes: Class ids that the data labels; objects of the model's other classes were not looked for.
        items: In the order to give them.
        problems: What was found wrong so far without making the data unusable, one line each.
        matched: How class numbers became the model's: ``name``, or ``number`` where the data has no names.

    Attributes:
        count: Pictures it gives; before it was iterated once, those it should give.
        digest: SHA-256 over the decoded pixels and truth of all of them; empty until it was iterated once.
    """

    def __init__(
        self,
        name: str,
        kind: str,
        task: str,
        labels: Sequence[str],
        classes: frozenset[int],
        items: Sequence[Item],
        *,
        problems: Sequence[str] = (),
        matched: str = "name",
    ) -> None:
        self.name, self.kind, self.task, self.matched = printable(name), kind, task, matched
        self.labels, self.classes = tuple(labels), classes
        self.count, self.digest = len(items), ""
        self._items = tuple(items)
        self._problems = dict.fromkeys(problems)

    @property
    def problems(self) -> list[str]:
        """What went wrong without ending it, one line each: pictures that were skipped."""
        return list(self._problems)

    @property
    def skipped(self) -> int:
        """Pictures that could not be given; 0 until it was iterated once."""
        return len(self._items) - self.count

    def __len__(self) -> int:
        return self.count

    @property
    def files(self) -> list[Path]:
        """Where the pictures are, in their order; some may be missing."""
        return [item.path for item in self._items if item.path is not None]

    def spread(self, samples: int) -> LabelledData:
        """At most ``samples`` of the pictures, evenly spread, in order."""
        items, total = self._items, len(self._items)
        if total > samples:
            items = tuple(items[i * total // samples] for i in range(samples))
        return self._with(items)

    def where(self, wanted: Callable[[Path | None], bool]) -> LabelledData:
        """The pictures whose file is wanted (None: there is none), in order."""
        return self._with([item for item in self._items if wanted(item.path)])

    def _with(self, items: Sequence[Item]) -> LabelledData:
        return LabelledData(
            self.name,
            self.kind,
            self.task,
            self.labels,
            self.classes,
            items,
            problems=self.problems,
            matched=self.matched,
        )

    def __iter__(self) -> Iterator[tuple[Image, Truth]]:
        """Streams the pictures.

        Raises:
            DataError: A box lies beside its picture, or no picture at all can be given.
        """
        digest, given = hashlib.sha256(), 0
        for item in self._items:
            image = self._decoded(item)
            if image is None:
                continue
            truth = item.truth(image.shape[0], image.shape[1])
            digest.update(picture_digest(image))
            digest.update(_truth_bytes(truth, self.labels))
            given += 1
            yield image, truth
        if given == 0:
            raise self._nothing()
        self.count, self.digest = given, digest.hexdigest()

    def _decoded(self, item: Item) -> Image | None:
        image = read_image(item.path) if item.path is not None and item.path.is_file() else None
        if image is not None and item.size in (None, image.shape[:2]):
            return image
        self._problems[f"{printable(item.name)} {_why_not(item, image)} and was skipped"] = None
        return None

    def _nothing(self) -> DataError:
        some = f", such as: {next(iter(self._problems))}" if self._problems else ""
        return DataError(
            f"no labelled picture of {self.name} can be used",
            received=counted(len(self._items), "picture") + some,
            expected="pictures where the labels say, in the size the labels were made for",
        )


def _why_not(item: Item, image: Image | None) -> str:
    if image is None:
        there = item.path is not None and item.path.is_file()
        return "cannot be decoded" if there else "is missing"
    height, width = item.size or (0, 0)
    turned = ", turned upright as its EXIF says" if image.shape[:2] == (width, height) else ""
    return (
        f"is {image.shape[1]}×{image.shape[0]}{turned}, its labels are for {width}×{height} pixels"
    )


def _truth_bytes(truth: Truth, labels: Sequence[str]) -> bytes:
    """The same bytes for the same truth, by names: a model may number its classes as it likes."""
    if isinstance(truth, ClassTruth):
        return f"class {labels[truth.class_id]!r}\n".encode()
    rows = zip(
        truth.class_ids.tolist(), truth.boxes_xyxy.tolist(), truth.ignore.tolist(), strict=True
    )
    lines = [f"{labels[class_id]!r} {box} {ignore}\n" for class_id, box, ignore in rows]
    return f"{len(truth)} objects\n{''.join(lines)}".encode()
