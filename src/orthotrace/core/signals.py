"""The signals that end a command, and what becomes of them while a process is forked."""

import os
import signal
import threading

# Of a terminal, of the system, and those that schedulers send some time before they end a job.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


class Forks:
    """The signals of a forked process are not those of this one, not even those that come while it is being made."""

    def __init__(self) -> None:
        # Whether signals are noted in a pipe, which a forked process would share.
        self.noted = False
        # Of each thread that forks: what it blocked before.
        self.blocked = threading.local()

    def before(self) -> None:
        """Let signals wait."""
        if self.noted:
            self.blocked.before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)

    def after(self) -> None:
        """Let them come."""
        if (before := vars(self.blocked).pop("before", None)) is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def in_child(self) -> None:
        """Note them no longer, and let them come."""
        if self.noted:
            signal.set_wakeup_fd(-1)
        self.after()


forks = Forks()
os.register_at_fork(before=forks.before, after_in_parent=forks.after, after_in_child=forks.in_child)
