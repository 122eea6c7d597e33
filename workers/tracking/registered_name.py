"""What a trained model is called in the registry."""

import re

from sdcn_core.config.data import DataSource, VocSource


def registered_name(source: DataSource) -> str:
    """One registered model for each data set, whose versions are the trainings on it.

    >>> registered_name(VocSource(path="VOCdevkit/VOC 2007"))
    'sdcn-VOCdevkit-VOC-2007'
    """
    if isinstance(source, VocSource):
        return "sdcn-" + re.sub(r"[^A-Za-z0-9_.]+", "-", source.path).strip("-.")
    return f"sdcn-{source.kind}"
