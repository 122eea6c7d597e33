"""What the predictor answers beside the API's own models of it."""

from service.jobs.answers import Answer


class PredictorAlive(Answer):
    status: str = "alive"
    models_in_memory: int
