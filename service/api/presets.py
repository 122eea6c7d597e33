"""The named experiments and studies."""

import inspect
from collections.abc import Callable, Iterator, Mapping

from fastapi import APIRouter

from sdcn_core.config.presets import PRESETS
from sdcn_core.config.second_stages import SECOND_STAGES
from sdcn_core.config.studies import ABLATIONS, SWEEPS
from service.api.dependencies import NO_PARAMETERS
from service.jobs.answers import PresetList, PresetRead

router = APIRouter(prefix="/v1/presets", tags=["presets"])


@router.get("", dependencies=[NO_PARAMETERS])
async def list_presets() -> PresetList:
    """Experiments, studies on them, and what follows on a trained model, by name."""
    named: dict[str, Mapping[str, Callable[..., object]]] = {
        "train": PRESETS,
        "ablation": ABLATIONS,
        "sweep": SWEEPS,
        "second_stage": SECOND_STAGES,
    }
    return PresetList(presets=tuple(preset for kind, makers in named.items() for preset in _described(kind, makers)))


def _described(kind: str, makers: Mapping[str, Callable[..., object]]) -> Iterator[PresetRead]:
    for name, make in makers.items():
        yield PresetRead(name=name, kind=kind, description=_first_line(inspect.getdoc(make) or ""))


def _first_line(text: str) -> str:
    paragraph = text.split("\n\n", 1)[0]
    return " ".join(paragraph.split())
