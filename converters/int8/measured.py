"""One graph and all that its recipes need to know of it: measured once, or taken from the cache."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from itertools import islice

import numpy as np
import onnx

from edgevision.converters.graph.execute import Feed
from edgevision.converters.int8.cache import CalibrationCache
from edgevision.converters.int8.calibrate import Calibration, calibrate, with_histograms
from edgevision.converters.int8.equalize import equalized
from edgevision.converters.int8.from_onnx import Quantized, quantize_calibrated
from edgevision.converters.int8.harm import Harm, tensor_harm, weight_harm
from edgevision.converters.int8.range_methods import PLAIN, TUNED, needs_histogram
from edgevision.converters.int8.ranges import Feeds
from edgevision.progress import Tell

__all__ = ["Measured"]

#: Frames that tell what harms. With 3, worse layers were put back to float than with 6; and of several noises the least
#: is taken for tuned ranges, so chance has more to say there.
_JUDGED_ON = 8


class Measured:
    """A graph with its calibration.

    Args:
        model: From `clean`.
        feeds: Calibration frames; see `calibrate`.
        scheme: One of `schemes.SCHEMES`.
        rounding: Whether recipes are to round with second moments.
        exclude: Names of nodes to keep in float.
        cache: Where the measurements may lie already, and are kept.
        progress: Told the stage, how far it is, and of how much.

    Attributes:
        model: The graph.
        calibration: What the frames said of it; histograms only once a recipe asked for them.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        feeds: Feeds,
        *,
        scheme: str,
        rounding: bool,
        exclude: Collection[str],
        cache: CalibrationCache | None,
        progress: Tell,
    ) -> None:
        self.model = model
        self._feeds, self._cache, self._progress = feeds, cache, progress
        self._rounding, self._exclude = rounding, exclude
        self._kept = (
            None
            if cache is None
            else cache.entry(model, scheme=scheme, rounding=rounding, exclude=exclude)
        )
        found = self._kept.load() if self._kept else None
        if found is None:
            found = calibrate(
                model, feeds, scheme=scheme, rounding=rounding, exclude=exclude, progress=progress
            )
            self._keep(found)
        self.calibration: Calibration = found

    def quantized(self, *, ranges: str, rounding: bool, floats: Collection[str]) -> Quantized:
        """The model by one recipe; the first that needs more than the ranges runs frames once more."""
        self._prepare(ranges)
        return quantize_calibrated(
            self.model, self.calibration, ranges=ranges, rounding=rounding, exclude=floats
        )

    def harm(self, *, ranges: str, rounding: bool) -> Harm:
        """What each part of one recipe does to the outputs alone."""
        self._prepare(ranges)
        model, calibration, frames = self.model, self.calibration, self._some_frames()
        by_method = calibration.harm or tensor_harm(
            model, calibration, frames, [ranges], progress=self._progress
        )
        names = next(iter(by_method.values()))
        tensors = {n: by_method[calibration.method_for(n, ranges)][n] for n in names}
        weights = weight_harm(
            model, calibration, frames, rounding=rounding, progress=self._progress
        )
        return Harm(weights, tensors)

    def equalized(self) -> Measured | None:
        """The same with equalized channels; None where that would change nothing."""
        model = equalized(
            self.model, self._feeds, frames=self.calibration.frames, progress=self._progress
        )
        if model is None:
            return None
        return Measured(
            model,
            self._feeds,
            scheme=self.calibration.scheme,
            rounding=self._rounding,
            exclude=self._exclude,
            cache=self._cache,
            progress=self._progress,
        )

    def _prepare(self, ranges: str) -> None:
        """Measures what a range method needs, if nobody did yet."""
        known = self.calibration
        if needs_histogram(ranges) and not known.histograms:
            known = with_histograms(self.model, known, self._feeds, progress=self._progress)
        if ranges == TUNED and not known.harm:
            frames = self._some_frames()
            harm = tensor_harm(self.model, known, frames, PLAIN, progress=self._progress)
            known = replace(known, harm=harm)
        if known is not self.calibration:
            self.calibration = known
            self._keep(known)

    def _some_frames(self) -> list[Feed]:
        """Some calibration frames, evenly spread."""
        every = max(1, self.calibration.frames // _JUDGED_ON)
        # Copies: the feeds are one buffer, filled anew for each frame.
        return [
            {name: np.array(value) for name, value in feed.items()}
            for feed in islice(self._feeds(), None, every * _JUDGED_ON, every)
        ]

    def _keep(self, calibration: Calibration) -> None:
        if self._kept:
            self._kept.store(calibration)
