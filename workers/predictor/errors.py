"""What the predictor refuses or cannot do, beside ModelNotFound."""

from service.errors import ServiceError


class ModelUnusable(ServiceError):
    """The model's file is damaged or of another version, or its weights are spoilt."""

    status = 422
    title = "The model cannot be used"


class ImagesRefused(ServiceError):
    """Some images are broken, too large or too many; `fields` names each."""

    status = 422
    title = "The images cannot be used"


class PredictorBusy(ServiceError):
    """Others are before this request, or the process is about to end."""

    status = 503
    title = "The predictor is busy"
