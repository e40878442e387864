"""When a restic that may take days counts as frozen."""

from __future__ import annotations

from orchestrator.adapters.restic.patience import Stillness


def test_progress_alone_is_no_work() -> None:
    still = Stillness(0.0, 100.0)
    assert still.judge(0.0, (1000, 500, 3), 500) == 0
    # It prints its progress into our file, and computes a little for that.
    assert still.judge(99.0, (1000, 600, 9), 600) == 0
    assert still.judge(100.0, (1000, 700, 9), 700) == 100.0


def test_reading_writing_and_computing_are() -> None:
    for worked in ((1001, 500, 3), (1000, 501, 3), (1000, 500, 40)):
        still = Stillness(0.0, 100.0)
        still.judge(0.0, (1000, 500, 3), 500)
        assert still.judge(99.0, worked, 500) == 0
        assert still.judge(150.0, worked, 500) == 0
        assert still.judge(199.0, worked, 500) == 100.0


def test_what_cannot_be_seen_or_has_no_limit_is_never_frozen() -> None:
    unseen, unlimited = Stillness(0.0, 100.0), Stillness(0.0, None)
    assert unseen.judge(1e6, (), 0) == 0
    unlimited.judge(0.0, (1, 1, 1), 0)
    assert unlimited.judge(1e6, (1, 1, 1), 0) == 0
