"""What a check of a data set may have found; the numbers are made up."""

from service.jobs.data_results import CheckDataResults, ClassCounts, Extent, SplitCounts

PROBLEM = "image data/animals/JPEGImages/a.jpg is broken or cut off: replace it, or take it off the split list"


def split_counts(name: str, images: int) -> SplitCounts:
    """A third of the images shows a cat, all show two dogs, one of them difficult."""
    return SplitCounts(
        name=name,
        images=images,
        without_label=1,
        masks=2,
        objects=2 * images + images // 3,
        difficult=images,
        objects_per_image=2 + (images // 3) / images,
        width_px=Extent(smallest=133, median=200, largest=500),
        height_px=Extent(smallest=100, median=180, largest=500),
        classes={
            "cat": ClassCounts(images=images // 3, objects=images // 3, difficult=0, objects_per_image=1),
            "dog": ClassCounts(images=images, objects=2 * images, difficult=images, objects_per_image=2),
        },
    )


def counts(*problems: str) -> CheckDataResults:
    return CheckDataResults(
        classes=("cat", "dog"),
        splits=(split_counts("trainval", 30), split_counts("test", 12), split_counts("train", 24)),
        unusable=len(problems),
        problems=problems,
        notes=(),
    )


def counts_without_boxes() -> CheckDataResults:
    """Of a data set of labels alone."""
    nothing = {"objects": None, "difficult": None, "objects_per_image": None}
    whole = counts().splits[0]
    split = whole.model_copy(
        update={**nothing, "classes": {name: c.model_copy(update=nothing) for name, c in whole.classes.items()}}
    )
    return counts().model_copy(update={"splits": (split,)})
