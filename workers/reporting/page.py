"""One HTML page that holds everything it shows: style and pictures are in it, and no address outside it."""

import base64
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic import JsonValue

from service.jobs.study_results import Spread
from workers.attempt_folder import write_atomically

LARGEST_PICTURE_BYTES = 700 * 1024
"""larger ones are made smaller for the page; the files themselves stay as they are"""
WIDEST_PICTURE_PX = 1400
JPEG_QUALITY = 82


@dataclass(frozen=True)
class Picture:
    """A picture as the page holds it."""

    data_uri: str
    width: int
    height: int
    alt: str
    caption: str


def picture(path: Path, *, alt: str, caption: str = "") -> Picture | None:
    """The picture in a file; None where there is none, or none that can be read."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    if not content:
        return None
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        return None
    kind = "jpeg" if content.startswith(b"\xff\xd8") else "png"
    height, width = pixels.shape[:2]
    if len(content) > LARGEST_PICTURE_BYTES:
        if width > WIDEST_PICTURE_PX:
            height, width = round(height * WIDEST_PICTURE_PX / width), WIDEST_PICTURE_PX
            pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
        encoded, smaller = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        assert encoded  # of three bytes a pixel every size can be
        content, kind = smaller.tobytes(), "jpeg"
    data_uri = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    return Picture(data_uri, width, height, alt, caption)


def write_page(template: str, path: Path, values: Mapping[str, object]) -> None:
    """Fill a template of this package in; whatever comes from outside is escaped."""
    environment = Environment(
        loader=PackageLoader("workers.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": percent,
        "spread": spread,
        "difference": difference,
        "number": number,
        "duration": duration,
        "moment": moment,
        "value": short_json,
        "exact": exact_json,
    }
    write_atomically(path, environment.get_template(template).render(values))


def percent(share: float | None) -> str:
    """A share in [0, 1] with one decimal.

    >>> percent(0.4123), percent(None)
    ('41.2', '–')
    """
    return "–" if share is None or not math.isfinite(share) else f"{100 * share:.1f}"


def spread(measure: Spread | None) -> str:
    """Mean and standard deviation in per cent.

    >>> spread(Spread(mean=0.5, std=0.021, count=3)), spread(Spread(mean=0.5, std=None, count=1))
    ('50.0 ± 2.1', '50.0')
    """
    if measure is None:
        return "–"
    return percent(measure.mean) + ("" if measure.std is None else f" ± {percent(measure.std)}")


def difference(measure: Spread | None) -> str:
    """A difference in per cent points, with its sign.

    >>> difference(Spread(mean=0.021, std=0.01, count=2))
    '+2.1 ± 1.0'
    """
    if measure is None:
        return "–"
    sign = "+" if measure.mean >= 0 else "−"
    return f"{sign}{percent(abs(measure.mean))}" + ("" if measure.std is None else f" ± {percent(measure.std)}")


def number(value: float | None) -> str:
    """Four significant digits.

    >>> number(0.123456), number(None)
    ('0.1235', '–')
    """
    return "–" if value is None or not math.isfinite(value) else f"{value:.4g}"


def duration(seconds: float | None) -> str:
    """Seconds as people say them.

    >>> duration(0.0213), duration(42.4), duration(62), duration(7325), duration(None)
    ('21 ms', '42 s', '1 min 2 s', '2 h 2 min', '–')
    """
    if seconds is None:
        return "–"
    if 0 < seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def moment(milliseconds: int | None) -> str:
    """A time of day in UTC.

    >>> moment(0)
    '1970-01-01 00:00 UTC'
    """
    return "–" if milliseconds is None else f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M} UTC"


def short_json(value: JsonValue) -> str:
    """A value of a configuration as one would type it, of a number four digits.

    >>> short_json(True), short_json(0.123456), short_json("a")
    ('true', '0.1235', 'a')
    """
    return f"{value:.4g}" if isinstance(value, float) else exact_json(value)


def exact_json(value: JsonValue) -> str:
    """A value of a configuration in full, text without its quotes."""
    return value if isinstance(value, str) else json.dumps(value)
