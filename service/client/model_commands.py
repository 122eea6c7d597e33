"""`sdcn models` and `sdcn model`, and what `sdcn evaluate` and `sdcn predict` share."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from service.client import terminal
from service.client.client import SdcnClient
from service.client.tables import model_details, models_table
from service.client.terminal import AsJson, Home, Url, out, print_json, print_json_list, say
from service.jobs.answers import ImageRead

CHAMPION = "champion"
SHOWN_BOXES = 10
"""of an image; --json has all"""

Model = Annotated[
    str,
    typer.Argument(help="JOB, or JOB/RUN of a study; NAME@champion, or champion, for the best one that is registered."),
]


def models(
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    as_json: AsJson = False,
    url: Url = None,
    home: Home = None,
) -> None:
    """List trained models, the newest first."""
    with terminal.open_client(url, home) as client:
        found = [model for model, _ in zip(client.models(page_size=min(limit, 200)), range(limit), strict=False)]
    if as_json:
        print_json_list(found)
    elif found:
        out().print(models_table(found))
    else:
        say("no models yet: train one, such as with `sdcn submit scenes --watch`")


def model(model: Model, as_json: AsJson = False, url: Url = None, home: Home = None) -> None:
    """Show a trained model: its classes, how good it is, its files."""
    with terminal.open_client(url, home) as client:
        found = client.model(model)
    if as_json:
        print_json(found)
    else:
        out().print(model_details(found))


def model_id(client: SdcnClient, model: str) -> str:
    """The id that a job's spec takes: that of the model which is the champion now."""
    return client.model(model).id if CHAMPION in model else model


def predict_now(
    client: SdcnClient, model: str, images: Sequence[Path], *, threshold: float | None, fast: bool, as_json: bool
) -> None:
    """Print the boxes of each image."""
    found = client.predict(model, images, score_threshold=threshold, fast=fast)
    if as_json:
        out().print_json(found.model_dump_json(by_alias=True))
        return
    for image in found.images:
        out().print(image_table(image))


def image_table(image: ImageRead) -> Table:
    table = Table(title=f"{image.file}: {len(image.boxes)} boxes in {image.seconds.total:.2f} s", title_justify="left")
    table.add_column("class")
    table.add_column("score", justify="right", style="bold")
    table.add_column("box (x1 y1 x2 y2, px)", justify="right")
    for box in image.boxes[:SHOWN_BOXES]:
        table.add_row(box.class_name, f"{box.score:.3f}", " ".join(f"{edge:.0f}" for edge in box.xyxy))
    if len(image.boxes) > SHOWN_BOXES:
        table.add_row(f"and {len(image.boxes) - SHOWN_BOXES} more", "", "")
    return table
