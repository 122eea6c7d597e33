from pathlib import Path

from workers.log_bound import LogBound

KIB = 1024


def bound(path: Path) -> LogBound:
    return LogBound(path, head_bytes=64 * KIB, tail_bytes=128 * KIB, slack_bytes=64 * KIB)


def on_disk(path: Path) -> int:
    return path.stat().st_blocks * 512


def test_a_log_that_grows_for_ever_keeps_its_beginning_and_its_end(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    keeper = bound(path)
    with path.open("ab", buffering=0) as child:  # which holds it open, as an attempt's process does
        for number in range(100):
            child.write(b"%06d " % number + b"x" * (32 * KIB))
            keeper.keep()
    text = path.read_bytes()
    assert len(text) == 100 * (32 * KIB + 7)
    assert on_disk(path) <= (64 + 128 + 2 * 64 + 32) * KIB
    assert text.startswith(b"000000 ")
    assert b"000099 " in text
    assert b"000050 " not in text


def test_a_short_log_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    bound(path).keep()  # nobody has written yet
    path.write_bytes(b"x" * 200 * KIB)
    bound(path).keep()
    assert path.read_bytes() == b"x" * 200 * KIB
