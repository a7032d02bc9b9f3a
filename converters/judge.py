"""Who decides whether a variant is good enough: agreement with fp32, or, on labelled pictures, accuracy.

Both choose a recipe on one part of the data and prove it on another, see `Judge`; `accuracy` has the other one.
"""

from __future__ import annotations

from typing import Protocol

from edgevision.backends import Variant
from edgevision.converters.calibration import Data, Part
from edgevision.converters.prove import Proof, agreement_for, load, prove
from edgevision.errors import DataError
from edgevision.model import Model
from edgevision.progress import Progress
from edgevision.results import Result

__all__ = ["AgreementJudge", "Judge"]

_MARGIN = 0.01
#: Of what may be lost, where that is less.
_MARGIN_SHARE = 0.25


class Judge(Protocol):
    """Decides for all variants of one model.

    Attributes:
        target: What a recipe has to reach on the pictures that it is chosen by.
        margin: How far above it a recipe must come for no other to be tried.
        decides: False where nothing can be proven, whatever comes out.
    """

    margin: float

    @property
    def target(self) -> float: ...

    @property
    def decides(self) -> bool: ...

    def load(self, variant: Variant, *, backend: str = "ort", compute: str | None = None) -> Model:
        """A variant, decoding whatever counts here."""
        ...

    def score(self, trial: Variant, stage: str) -> float:
        """How good a trial is on the pictures to choose by, higher is better.

        Args:
            trial: What to score.
            stage: What the progress calls it.

        Raises:
            DataError: None of the pictures can be decoded.
        """
        ...

    def prove(self, candidate: Model, stage: str) -> Proof:
        """The verdict, on pictures that had no part in making or choosing the variant.

        Args:
            candidate: From `load`.
            stage: What the progress calls it.
        """
        ...


class AgreementJudge:
    """Agreement with fp32 decides.

    Args:
        reference: fp32.
        data: Pictures to choose and to prove with. With noise nothing is proven, whatever agrees.
        least: Agreement that passes.
        progress: Told how far it is.
    """

    def __init__(self, reference: Variant, data: Data, least: float, progress: Progress) -> None:
        self._reference, self._data, self._progress = reference, data, progress
        # Of the pictures to choose by: small, and always the same.
        self._expected: list[Result] = []
        self._least = least
        # One recipe passed what it was chosen by, and failed on fresh pictures.
        self.margin = min(_MARGIN, _MARGIN_SHARE * (1.0 - least))

    @property
    def target(self) -> float:
        """Of noise the first recipe is as good as any other."""
        return self._least if self.decides else 0.0

    @property
    def decides(self) -> bool:
        return not self._data.random

    def load(self, variant: Variant, *, backend: str = "ort", compute: str | None = None) -> Model:
        return load(variant, backend=backend, compute=compute)

    def score(self, trial: Variant, stage: str) -> float:
        data = self._data
        pictures = data.selection if data.selection.count else data.calibration
        agreement, expected = agreement_for(trial.spec.task), self._expected_of(pictures, stage)
        with self.load(trial) as candidate:
            for ours, image in zip(expected, pictures, strict=False):
                agreement.add(ours, candidate(image))
                self._progress(stage, agreement.frames, len(expected))
        if not agreement.frames:
            raise DataError(
                f"none of the {pictures.purpose} pictures of {data.name} can be decoded any more",
                received="; ".join(data.problems[:3]),
                expected="pictures that stay where they are during the conversion",
            )
        return agreement.value

    def _expected_of(self, pictures: Part, stage: str) -> list[Result]:
        """What fp32 finds in them."""
        if not self._expected:
            with self.load(self._reference) as reference:
                for image in pictures:
                    self._expected.append(reference(image))
                    self._progress(f"{stage}: fp32 first", len(self._expected), pictures.count)
        return self._expected

    def prove(self, candidate: Model, stage: str) -> Proof:
        with self.load(self._reference) as reference:
            proof = prove(
                reference,
                candidate,
                self._data.proof,
                total=self._data.proof.count,
                least=self._least,
                stage=stage,
                progress=self._progress,
            )
        if self.decides:
            return proof
        return Proof(proof.agreement | {"verdict": "not proven"}, proof.outputs)
