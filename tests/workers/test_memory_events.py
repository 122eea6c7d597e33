from pathlib import Path

from workers.memory_events import oom_kills


def test_cgroup_v2_counts_in_memory_events(tmp_path: Path) -> None:
    (tmp_path / "box").mkdir()
    (tmp_path / "box/memory.events").write_text("low 0\noom 3\noom_kill 2\n")
    (tmp_path / "own").write_text("0::/box\n")
    assert oom_kills(tmp_path, tmp_path / "own") == 2


def test_cgroup_v1_counts_in_oom_control(tmp_path: Path) -> None:
    (tmp_path / "memory/box").mkdir(parents=True)
    (tmp_path / "memory/box/memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 5\n")
    (tmp_path / "own").write_text("5:devices:/\n4:memory:/box\n0::/\n")
    assert oom_kills(tmp_path, tmp_path / "own") == 5


def test_a_container_sees_its_group_as_the_root(tmp_path: Path) -> None:
    (tmp_path / "memory.events").write_text("oom_kill 1\n")
    (tmp_path / "own").write_text("0::/kubepods/not-mounted-here\n")
    assert oom_kills(tmp_path, tmp_path / "own") == 1


def test_without_a_counter_nothing_is_known(tmp_path: Path) -> None:
    assert oom_kills(tmp_path, tmp_path / "absent") is None
