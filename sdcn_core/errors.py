"""What can go wrong in the detector, each with a sentence that names the cause and the way out.

SdcnError
├── BadInput            what the user gave cannot be used; trying again will not help
│   ├── DatasetError    a file or folder of a data set: message names the file
│   └── WeightsError    a weights file: missing, wrong sum, wrong shapes
├── SearchBusy          others search this process's images for longer than somebody would wait
├── TrainingDiverged    a loss or gradient is no longer finite
└── CheckpointError     a checkpoint cannot be read or belongs to another experiment

All survive pickling (they carry one message), because they cross process borders.
"""


class SdcnError(Exception):
    """Base of all errors that sdcn_core raises on purpose."""


class BadInput(SdcnError):
    """What the user gave cannot be used; the message names the field or file and the way out."""


class DatasetError(BadInput):
    """A data set is missing, broken or useless for training; the message names the file."""


class WeightsError(BadInput):
    """A file of pretrained weights is missing, altered, or of another architecture."""


class SearchBusy(SdcnError):
    """Others searched for proposals in this process for longer than the caller would wait; try again."""


class TrainingDiverged(SdcnError):
    """A loss is no longer finite; the message names the loss, the stage and the step."""


class CheckpointError(SdcnError):
    """A checkpoint cannot be read, or was written by another experiment."""
