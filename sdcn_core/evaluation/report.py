"""The result of an evaluation, as it is stored, sent and read. C classes."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from pydantic import ConfigDict, TypeAdapter, ValidationError

from sdcn_core.errors import BadInput


@dataclass(frozen=True)
class EvaluationReport:
    """AP on the test split and CorLoc on the training split; every share is in [0, 1]."""

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)

    classes: tuple[str, ...]
    ap: tuple[float | None, ...]
    """(C,) None where the test split has no object of the class"""
    corloc: tuple[float | None, ...]
    """(C,) None where no training image has the class, or CorLoc was not asked for"""
    num_test_images: int
    num_train_images: int
    """0: CorLoc was not asked for"""
    seconds_per_image: float | None = None
    """of scoring one image, all scales and flips; None: not measured"""

    def __post_init__(self) -> None:
        for field, values in (("ap", self.ap), ("corloc", self.corloc)):
            if len(values) != len(self.classes):
                raise ValueError(f"{field} has {len(values)} values for {len(self.classes)} classes")

    @property
    def mean_ap(self) -> float | None:
        """mAP: the mean over the classes that have an AP; None where none has."""
        return mean_over_classes(self.ap)

    @property
    def mean_corloc(self) -> float | None:
        return mean_over_classes(self.corloc)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON: the fields, with lists in the order of `classes`, and both means."""
        fields = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        return fields | {"mean_ap": self.mean_ap, "mean_corloc": self.mean_corloc}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The report that `to_json` wrote; the means are taken anew.

        Raises:
            BadInput: a field is missing, unknown or of the wrong type; the message names it.
        """
        fields = {name: value for name, value in data.items() if name not in ("mean_ap", "mean_corloc")}
        try:
            return TypeAdapter(cls).validate_python(fields)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the whole"
            raise BadInput(
                f"not an evaluation report: {where}: {first['msg']}; evaluate again to write a new one"
            ) from None

    def __str__(self) -> str:
        """One line for a log.

        >>> print(EvaluationReport(("cat", "dog"), (0.5, None), (0.25, 0.75), 10, 20))
        mAP 50.0 % over 1 of 2 classes (10 test images), CorLoc 50.0 % over 2 of 2 classes (20 training images)
        """
        test = f"{_percent('mAP', self.ap)} ({self.num_test_images} test images)"
        if self.num_train_images == 0:
            return test
        return f"{test}, {_percent('CorLoc', self.corloc)} ({self.num_train_images} training images)"


def mean_over_classes(values: tuple[float | None, ...]) -> float | None:
    """Mean of the values that exist; None where none does.

    >>> mean_over_classes((0.5, None, 1.0))
    0.75
    """
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _percent(name: str, values: tuple[float | None, ...]) -> str:
    mean = mean_over_classes(values)
    known = sum(value is not None for value in values)
    shown = "unknown" if mean is None else f"{100 * mean:.1f} %"
    return f"{name} {shown} over {known} of {len(values)} classes"
