"""What an operator can set about the predictor, from the environment (SDCN_...), on top of what the API reads too."""

from pydantic import Field

from sdcn_core.config.evaluation import SEARCH_SIDE_PX
from sdcn_core.data.images import MAX_FILE_BYTES, MAX_PIXELS
from service.settings import LOOPBACK_NAMES, ServiceSettings


class PredictorSettings(ServiceSettings):
    """Settings of the predictor process; `home` and `predictor_token` must be those of the API.

    Callers without the token are refused, once one is set. A request is at most `max_predict_bytes` long.
    """

    predictor_host: str = "127.0.0.1"
    """address to listen on; elsewhere than on loopback set SDCN_PREDICTOR_TOKEN too"""
    predictor_port: int = Field(default=8001, ge=0, le=65535)
    """0: any free one; the log's event predictor.listening names it"""
    predictor_device: str = Field(default="cpu", pattern=r"^(cpu|cuda(:\d{1,2})?)$")
    predictor_threads: int | None = Field(default=None, ge=1)
    """CPUs that one prediction uses; none: as many as torch finds"""
    predictor_max_models: int = Field(default=4, ge=1)
    """so many stay in memory, those used last"""
    predictor_max_models_bytes: int = Field(default=4 * 2**30, ge=1)
    """weights of all of them together; a larger model is in memory alone"""
    predictor_max_images: int = Field(default=32, ge=1, le=1000)
    """of one request"""
    predictor_max_image_bytes: int = Field(default=20 * 2**20, ge=1, le=MAX_FILE_BYTES)
    predictor_max_image_pixels: int = Field(default=24 * 2**20, ge=1, le=MAX_PIXELS)
    predictor_wait_s: float = Field(default=60, ge=0)
    """how long a request waits for others that use its model, or search their images; then it is refused with 503"""
    predictor_search_side_px: int = Field(default=SEARCH_SIDE_PX, ge=16)
    """larger images are searched for proposals at this longest side where the model has no test scales: the search's
    time grows faster than the pixels, and nobody else's image is searched meanwhile"""
    predictor_max_requests: int = Field(default=16, ge=1, le=40)
    """requests in work or waiting; more are refused with 503 at once"""

    @property
    def predictor_hosts(self) -> frozenset[str] | None:
        """Host names a request may come under; None: any. See `accepted_hosts`."""
        bound = f"[{self.predictor_host}]" if ":" in self.predictor_host else self.predictor_host
        return frozenset(LOOPBACK_NAMES) if bound in LOOPBACK_NAMES else None
