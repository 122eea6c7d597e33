"""How detections are made and judged."""

from typing import Annotated, Literal

from pydantic import Field

from sdcn_core.config.base import FrozenConfig

SEARCH_SIDE_PX = 640
"""longest side at which a predictor searches an image for proposals where there are no test scales, which would say
how large the network sees it: more than the images of scenes and of VOC have, and a search of seconds"""


class PclProtocol(FrozenConfig):
    """What decides detections by PCL's protocol (Tang et al. 2018): each image stands alone."""

    score_threshold: float = Field(default=1e-5, ge=0, lt=1)
    """a box takes part that scores more"""
    nms_iou: float = Field(default=0.3, gt=0, le=1)
    """a box overlapping a better one of its class by this or more is dropped"""
    boxes_per_image: int = Field(default=100, ge=1)
    """best boxes of an image, over all classes, that are kept after NMS; what scores as the last of them stays too"""


class EvaluationConfig(FrozenConfig):
    test_scales_px: tuple[Annotated[int, Field(ge=16, le=4000)], ...] | None = (480, 576, 688, 864, 1200)
    """scores are averaged over these; null: the image's own size"""
    test_side: Literal["shortest", "longest"] = "longest"
    """which side gets the scale; OICR's test code uses the longest"""
    flip: bool = True
    """scores are averaged over the image and its mirror image"""
    protocol: Literal["oicr", "pcl"] = "oicr"
    """how scores become detections: as in OICR's code, with which the paper compares itself, by nms_iou,
    boxes_per_class and boxes_per_image_cap; or as in PCL's and what is built on it, by pcl"""
    nms_iou: float = Field(default=0.3, gt=0, le=1)
    """of oicr: a box overlapping a better one by this or more is dropped"""
    boxes_per_class: int = Field(default=100, ge=1)
    """of oicr: best boxes an image and class that enter NMS"""
    boxes_per_image_cap: int = Field(default=40, ge=1)
    """of oicr: only this many times the number of images, best first, are kept of a class over the whole split"""
    pcl: PclProtocol = PclProtocol()
    ap: Literal["voc07_11point", "area"] = "voc07_11point"
    match_iou: float = Field(default=0.5, gt=0, lt=1)
    """a detection is right above this overlap, strictly"""
    coco: bool = False
    """also count COCO's twelve figures, and keep the detections as COCO's server takes them; needs pycocotools"""
    comp4: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,63}$")] | None = None
    """also keep the detections as the server of Pascal VOC takes them, in comp4.tar.gz: the data set as the server
    calls it, for example VOC2012; null: do not"""
    rounded: bool = False
    """AP is counted on scores of three decimals and box edges of one, as in the files from which OICR's code counts it:
    many scores tie"""
    every_steps: int | None = Field(default=None, ge=1)
    """AP on the test split every so many steps of stages apart and loop, rounded up to a checkpoint; null: at the end
    only"""
    baselines: bool = True
    """also judge random scores and the untrained network, so that a result can be told from nothing learnt"""
    pictured_images: int = Field(default=12, ge=1, le=64)
    """test images in the picture of detections"""
