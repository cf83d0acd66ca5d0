"""Work in forked processes: each part is done once, and a failure of one is the whole's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from topic_model.processes import in_processes


@pytest.mark.parametrize("number", [1, 3])
def test_each_process_has_its_part(number: int, tmp_path: Path) -> None:
    """What they leave is on disk when the call returns; one process is this one."""
    in_processes(lambda one: Path(tmp_path, str(one)).write_text(str(os.getpid()), encoding="utf-8"), number)
    processes = {path.name: int(path.read_text(encoding="utf-8")) for path in tmp_path.iterdir()}
    assert sorted(processes) == [str(one) for one in range(number)]
    assert (os.getpid() in processes.values()) == (number == 1)


def test_a_process_that_fails_is_told() -> None:
    """Nothing is taken for done of which a part is missing."""

    def work(one: int) -> None:
        if one == 1:
            os._exit(3)

    with pytest.raises(RuntimeError, match="1 of 2 processes failed, with exit code 3"):
        in_processes(work, 2)
