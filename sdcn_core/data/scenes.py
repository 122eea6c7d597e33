"""The generated benchmark: a data set in VOC layout on which the paper's claim can be checked in minutes on a CPU.

Each object is a body (outline and pattern by class, hue from one of two modes of the class, sometimes any) that carries
a part: a disc in two colours that are the class's own and never vary. The part is the most constant evidence, so a
detector taught by labels alone may box the part; the truth is the whole body. Layout `parts` puts patches of the
class's context beside objects, layout `halo` makes the part larger and lets the context surround it. Everything follows
from the seed.
"""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sdcn_core.config.data import ScenesSource
from sdcn_core.data.scene_drawing import SCENE_CLASSES, SceneObject, draw_scene
from sdcn_core.data.voc_writer import write_lists, write_scene
from sdcn_core.errors import DatasetError

__all__ = ["SCENE_CLASSES", "scenes_folder", "write_scenes"]

GENERATOR_VERSION = 3
"""raised with every change of what is drawn, so that no cache holds yesterday's scenes"""


def scenes_folder(source: ScenesSource, *, cache: Path) -> Path:
    """Where the scenes of this source lie, or would; the chosen splits make no difference."""
    drawn = source.with_overrides({"train_split": "train", "test_split": "test"})
    return cache / "scenes" / f"v{GENERATOR_VERSION}-{drawn.digest()}"


def write_scenes(source: ScenesSource, *, cache: Path, progress: Callable[[int, int], None]) -> Path:
    """Generate the scenes unless they are there; the folder appears whole or not at all, whoever else generates it too.

    Args:
        source: which scenes.
        cache: folder of the cache; made when needed.
        progress: called with (images done, images in all); an exception it raises leaves nothing behind.

    Returns:
        The folder, in VOC layout.

    Raises:
        DatasetError: the folder cannot be written.
    """
    folder = scenes_folder(source, cache=cache)
    sizes = {"train": source.train_images, "val": source.val_images, "test": source.test_images}
    total = sum(sizes.values())
    if folder.is_dir():
        progress(total, total)
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder.parent))
    except OSError as error:
        raise DatasetError(f"scenes cannot be written below {cache} ({error.strerror}): choose another home") from error
    try:
        _write(source, sizes, partial, progress)
        partial.chmod(0o755)
        try:
            partial.rename(folder)
        except OSError as error:
            if not folder.is_dir():  # another process was quicker, with the same scenes; anything else is a fault
                raise DatasetError(f"scenes cannot be written to {folder} ({error.strerror})") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _write(source: ScenesSource, sizes: dict[str, int], folder: Path, progress: Callable[[int, int], None]) -> None:
    done, total = 0, sum(sizes.values())
    splits: dict[str, dict[str, tuple[SceneObject, ...]]] = {}
    for split_number, (split, size) in enumerate(sizes.items()):
        splits[split] = {}
        for index in range(size):
            draw = np.random.default_rng([source.seed, split_number, index])
            scene = draw_scene(draw, source.layout, source.image_size_px, wanted_class=index % len(SCENE_CLASSES))
            image_id = f"{split}_{index:06d}"
            write_scene(folder, image_id, scene, SCENE_CLASSES)
            splits[split][image_id] = scene.objects
            done += 1
            progress(done, total)
    splits["trainval"] = splits["train"] | splits["val"]
    for split, objects in splits.items():
        write_lists(folder, split, objects, SCENE_CLASSES)
    (folder / "classes.txt").write_text("\n".join(SCENE_CLASSES) + "\n")
