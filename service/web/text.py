"""Numbers and times as a person reads them. None is a dash: nothing was measured."""

from collections.abc import Sequence
from datetime import datetime

DASH = "–"
_UNITS = ("B", "kB", "MB", "GB", "TB")


def percent(share: float | None, digits: int = 1) -> str:
    """A share of one in percent, without the sign.

    >>> percent(0.4126), percent(None)
    ('41.3', '–')
    """
    return DASH if share is None else f"{100 * share:.{digits}f}"


def signed_percent(share: float | None) -> str:
    """A difference of shares in percentage points, always with a sign.

    >>> signed_percent(0.071), signed_percent(-0.044), signed_percent(None)
    ('+7.1', '−4.4', '–')
    """
    return DASH if share is None else f"{100 * share:+.1f}".replace("-", "−")


def number(value: float | None) -> str:
    """Four significant digits.

    >>> number(0.123456), number(12345.0), number(1e-7), number(None)
    ('0.1235', '12345', '1e-07', '–')
    """
    if value is None:
        return DASH
    return f"{value:.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"


def duration(seconds: float | None) -> str:
    """The two largest units.

    >>> [duration(s) for s in (0.4, 42, 125, 7260, 90000)]
    ['0 s', '42 s', '2 min 5 s', '2 h 1 min', '1 d 1 h']
    """
    if seconds is None:
        return DASH
    whole = round(seconds)
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    for index, (unit, size) in enumerate(units[:-1]):
        if whole >= size:
            smaller, smaller_size = units[index + 1]
            rest = whole % size // smaller_size
            return f"{whole // size} {unit} {rest} {smaller}" if rest else f"{whole // size} {unit}"
    return f"{whole} s"


def remaining(seconds: float | None) -> str:
    """A rough time left: nobody needs its seconds when it is hours.

    >>> [remaining(s) for s in (3, 48, 200, 5000, None)]
    ['a few seconds left', '50 s left', '3 min left', '1 h 23 min left', '']
    """
    if seconds is None:
        return ""
    if seconds < 10:
        return "a few seconds left"
    if seconds < 60:
        return f"{round(seconds, -1):.0f} s left"
    return f"{duration(round(seconds / 60) * 60)} left"


def ago(moment: datetime, now: datetime) -> str:
    """How long ago, by its largest unit; both aware.

    >>> from datetime import UTC, timedelta
    >>> now = datetime(2024, 5, 2, tzinfo=UTC)
    >>> [ago(now - timedelta(seconds=s), now) for s in (-1, 50, 130, 7300, 200000)]
    ['just now', 'just now', '2 min ago', '2 h ago', '2 d ago']
    """
    seconds = (now - moment).total_seconds()
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return "just now"


def utc(moment: datetime) -> str:
    """To the second.

    >>> from datetime import UTC
    >>> utc(datetime(2024, 5, 2, 7, 30, tzinfo=UTC))
    '2024-05-02 07:30:00 UTC'
    """
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def size(count: int) -> str:
    """Bytes in decimal units.

    >>> size(999), size(1500), size(2_340_000)
    ('999 B', '1.5 kB', '2.3 MB')
    """
    value = float(count)
    for unit in _UNITS[:-1]:
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} {_UNITS[-1]}"


def words(name: str) -> str:
    """A value of an enumeration as words.

    >>> words("retry_wait")
    'retry wait'
    """
    return name.replace("_", " ")


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """The number with its noun.

    >>> counted(1, "seed"), counted(2, "seed"), counted(0, "class", "classes")
    ('1 seed', '2 seeds', '0 classes')
    """
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def listed(items: Sequence[object], limit: int = 12) -> str:
    """The items with commas, cut after `limit`.

    >>> listed([1, 2, 3], limit=2)
    '1, 2 and 1 more'
    """
    said = ", ".join(str(item) for item in items[:limit])
    return said if len(items) <= limit else f"{said} and {len(items) - limit} more"
