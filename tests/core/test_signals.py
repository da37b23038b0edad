import os
import signal

import pytest

from actgen.core.signals import Stopped, check, deferred, heeded


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_every_signal_waits_for_the_safe_end_and_says_its_code(number: int, code: int) -> None:
    before = signal.getsignal(number)
    reached = False

    def ends() -> None:
        nonlocal reached
        with deferred():
            os.kill(os.getpid(), number)
            reached = True

    with heeded(), pytest.raises(Stopped) as stopped:
        ends()
    assert reached
    assert stopped.value.code == code
    assert signal.getsignal(number) == before
    check()  # nothing is left over


def test_what_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with heeded():
            os.kill(os.getpid(), signal.SIGHUP)
            check()
    finally:
        signal.signal(signal.SIGHUP, before)
