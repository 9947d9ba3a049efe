"""Child processes that do not outlive who started them, however that one ends: some are stopped, and would stay for ever."""

import ctypes
import signal

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)  # looked up before a fork


def dies_with_parent() -> None:
    """For subprocess's preexec_fn."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
