"""The named experiments."""

import inspect

from fastapi import APIRouter

from sdcn_core.config.presets import PRESETS
from service.api.dependencies import NO_PARAMETERS
from service.jobs.answers import PresetList, PresetRead

router = APIRouter(prefix="/v1/presets", tags=["presets"])


@router.get("", dependencies=[NO_PARAMETERS])
async def list_presets() -> PresetList:
    """Experiments that can be asked for by name."""
    return PresetList(
        presets=tuple(
            PresetRead(name=name, description=_first_line(inspect.getdoc(make) or "")) for name, make in PRESETS.items()
        )
    )


def _first_line(text: str) -> str:
    paragraph = text.split("\n\n", 1)[0]
    return " ".join(paragraph.split())
