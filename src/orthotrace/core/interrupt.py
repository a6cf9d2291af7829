"""Signals end a command with one line and one code, wherever it is: those of a terminal and those of a scheduler."""

import _thread
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from orthotrace.core.launched import launched
from orthotrace.core.processes import INTERVAL, leave
from orthotrace.core.signals import SIGNALS, forks

# Seconds from the first signal to the end of the process, whatever it is doing. SIGUSR1 and SIGUSR2 are what schedulers
# send some time before they end a job.
LIMIT, NOTICE = 15.0, 45.0
# Seconds after which a signal that came within a destructor is heard again.
AGAIN = 0.01


class Interrupted(BaseException):
    """A signal asks for the end. No Exception: what catches errors lets it pass."""


class _Watch:
    """The signals of one command."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self.thread = threading.get_ident()
        self.active = True
        self.deferred = False
        self.heard: Callable[[], None] | None = None
        self.ready: Callable[[], bool] | None = None
        self.lost = self.raising = False
        self.leaving = False
        self.printed = False
        self.silent = False
        self.received: int | None = None
        self.hook = sys.unraisablehook
        self.folder: Path | None = None
        # What a scheduler's library does with a signal; the code that it ends the process with.
        self.hand_on: Callable[[int], int | None] | None = None
        # In which each signal is noted when it comes, before the main thread hears it.
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.writer, False)

    def handle(self, number: int, frame: FrameType | None) -> None:
        """What Python calls in the main thread, between two steps of it."""
        if os.getpid() != self.owner:
            # A forked helper, such as one that reads images: as if there were no handler.
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif self.received is None:
            self.received = number
            # Once more, where a library such as asyncio has had it noted elsewhere.
            with suppress(OSError):
                os.write(self.writer, bytes([number]))
            if self.heard is not None:
                self.heard()
            if self.ready is not None:
                _thread.start_new_thread(self.raise_when_ready, (self.ready,))
            if self.leaving:
                self.end()
            if not self.deferred:
                raise Interrupted
        elif self.lost:
            self.lost = False
            if not self.deferred:
                raise Interrupted
        elif number == signal.SIGINT:
            self.end()

    def unraisable(self, raised: "sys.UnraisableHookArgs") -> None:
        """What Python calls with an error that it drops, as in destructors and in callbacks of weak references."""
        if raised.exc_type is Interrupted:
            _thread.start_new_thread(self.raise_again, ())
        else:
            self.hook(raised)

    def raise_when_ready(self, ready: Callable[[], bool]) -> None:
        """Let the main thread hear a signal that was deferred, once nothing is waited for."""
        while not ready():
            time.sleep(INTERVAL)
        self.deferred = False
        self.raise_again()

    def raise_again(self) -> None:
        """Let the main thread hear the signal once more."""
        time.sleep(AGAIN)
        self.raising = True
        try:
            if self.active and not self.printed and self.received is not None:
                self.lost = True
                signal.pthread_kill(self.thread, self.received)
        finally:
            self.raising = False

    def part(self) -> None:
        """The block is left: a signal that is on its way is still heard here, not by who comes behind."""
        self.active = False
        # In a process that was forked meanwhile there is nobody to wait for.
        while self.raising and os.getpid() == self.owner:
            time.sleep(0.001)

    def end_later(self) -> None:
        """End the process where nothing else does: where the main thread is in a library's code for long."""
        while number := os.read(self.reader, 1):
            if number[0] in SIGNALS:
                time.sleep(limit(number[0]))
                if self.active:
                    self.received = self.received or number[0]
                    self.end()
                break
        os.close(self.reader)

    def end(self) -> NoReturn:
        """Print the line, unless that is done, and end the process at once."""
        code = None if self.hand_on is None else self.hand_on(self.received or signal.SIGINT)
        leave(self.code if code is None else code, None if self.printed or self.silent else self.line)

    @property
    def line(self) -> str:
        """What is printed."""
        where = "" if self.folder is None else f": {self.folder}"
        return f"interrupted{where}; the same command continues"

    @property
    def code(self) -> int:
        """As a shell has it of a process that a signal ended."""
        return 128 + (self.received or signal.SIGINT)


_watch: _Watch | None = None


@contextmanager
def interruptible(for_good: bool = False) -> Iterator[None]:
    """Within the block a signal raises Interrupted; at its end one line says so, and the code is 128 + its number.

    A second SIGINT ends the process at once; some time after the first signal it ends in any case, see limit.

    Args:
        for_good: the process ends behind the block, and signals on its way out give the same line.

    Raises:
        SystemExit: a signal came.
    """
    global _watch
    if _watch is not None or threading.current_thread() is not threading.main_thread():
        yield
        return
    _watch = watch = _Watch()
    # What the caller ignores, as nohup and shells in the background do, stays ignored.
    before = {one: handler for one in SIGNALS if (handler := signal.getsignal(one)) is not signal.SIG_IGN}
    noted_before = signal.set_wakeup_fd(-1)
    forks.noted = True
    _thread.start_new_thread(watch.end_later, ())
    try:
        try:
            sys.unraisablehook = watch.unraisable
            keep_handlers()
            yield
        finally:
            watch.deferred = True
    except KeyboardInterrupt:
        watch.received = watch.received or signal.SIGINT
    except BaseException:
        # After a signal: whatever a clean-up came to.
        if watch.received is None:
            raise
    finally:
        _watch = None
        if for_good:
            watch.leaving = True
        else:
            watch.part()
            sys.unraisablehook = watch.hook
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(noted_before)
            forks.noted = False
            os.close(watch.writer)
    if watch.received is not None:
        watch.printed = True
        if not watch.silent:
            print(watch.line, file=sys.stderr, flush=True)
        raise SystemExit(watch.code)


def keep_handlers() -> None:
    """Set the handlers, or set them again where a library has put its own in their place."""
    if _watch is None:
        return
    signal.set_wakeup_fd(_watch.writer, warn_on_full_buffer=False)
    who = launched()
    # Of several processes the first one prints the line, whatever ends the others.
    _watch.silent |= not who.first
    for number in SIGNALS:
        if signal.getsignal(number) is signal.SIG_IGN:
            continue
        if who.helper:
            # The first process of several prints the line and ends the others.
            signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.SIG_IGN)
        else:
            signal.signal(number, _watch.handle if who.first else _linger)


def _linger(number: int, frame: FrameType | None) -> None:
    """Of several processes that hear a launcher's signal the first one saves: the others help, and end after it."""

    def end() -> None:
        time.sleep(limit(number))
        leave(128 + number)

    _lingering.append(number)
    _thread.start_new_thread(end, ())


_lingering: list[int] = []


def end_if_lingering() -> None:
    """End this process as a signal ends it, if it has heard one and only helped the first process to save.

    Example:
        >>> end_if_lingering()
    """
    if _lingering:
        leave(128 + _lingering[0])


def limit(number: int) -> float:
    """Seconds from a signal to the end of the process.

    Example:
        >>> limit(signal.SIGTERM), limit(signal.SIGUSR2)
        (15.0, 45.0)
    """
    return LIMIT if number in (signal.SIGINT, signal.SIGTERM) else NOTICE


def patience() -> float:
    """Seconds for which the end of an epoch, where a checkpoint is written, is waited for after a signal.

    Example:
        >>> patience()
        5.0
    """
    received = signal.SIGINT if _watch is None or _watch.received is None else _watch.received
    return limit(received) / 3


def heard_here() -> bool:
    """Whether this process hears signals by a block of interruptible.

    Example:
        >>> heard_here()
        False
    """
    return _watch is not None


def interrupted() -> bool:
    """Whether a signal asks for the end.

    Example:
        >>> interrupted()
        False
    """
    return _watch is not None and _watch.received is not None


def stop_here() -> None:
    """Stop, if a signal asks for the end.

    Raises:
        Interrupted: it does.

    Example:
        >>> stop_here()
    """
    if interrupted():
        raise Interrupted


def working_in(folder: Path | str) -> None:
    """Name the folder that the line of an interrupted command names."""
    if _watch is not None:
        _watch.folder = Path(folder)


def end_as_interrupted(number: int) -> NoReturn:
    """End this process at once as a signal ends it; one that it has heard itself goes before.

    Args:
        number: of a signal that another process of this command has heard.
    """
    watch = _watch or _Watch()
    if watch.received is None:
        watch.received = number
    watch.end()


@contextmanager
def silently_interruptible() -> Iterator[None]:
    """Within the block SIGTERM raises Interrupted; the block is left without a line and without an error.

    For a process that works for another one, which hears SIGINT and tells of the end.
    """
    with suppress(SystemExit), interruptible():
        assert _watch is not None
        _watch.silent = True
        yield


@contextmanager
def handing_on() -> Iterator[None]:
    """Within the block a signal raises Interrupted; what was saved, it goes to the handler that there was before.

    For a job that a scheduler's library runs, which asks for another start of it by that handler.

    Raises:
        SystemExit: a signal came, and the handler before raised nothing.
    """
    before: dict[int, Any] = {number: signal.getsignal(number) for number in SIGNALS}

    def hand_on(number: int) -> int | None:
        handler = before.get(number)
        try:
            if callable(handler):
                handler(number, None)
        except SystemExit as error:
            # As Python ends with it.
            return error.code % 256 if isinstance(error.code, int) else 1
        return None

    received: int | None = None
    try:
        with interruptible():
            assert _watch is not None
            watch = _watch
            watch.hand_on = hand_on
            try:
                yield
            finally:
                received = watch.received
    except SystemExit:
        if received is not None and (code := hand_on(received)) is not None:
            raise SystemExit(code) from None
        raise


@contextmanager
def deferred() -> Iterator[None]:
    """Within the block a signal is noted and raises nothing; stop_here raises it there, and the end of the block.

    Raises:
        Interrupted: a signal came.
    """
    watch = _watch
    if watch is None or watch.deferred:
        yield
        return
    watch.deferred = True
    try:
        yield
    finally:
        watch.deferred = False
    stop_here()


@contextmanager
def waiting_for(heard: Callable[[], None], ready: Callable[[], bool]) -> Iterator[None]:
    """Within the block a signal is noted, and raised as soon as others have come to their end.

    Args:
        heard: called when the signal comes: tells them.
        ready: whether they have; asked again and again then.

    Raises:
        Interrupted: a signal came.
    """
    watch = _watch
    if watch is None:
        yield
        return
    watch.heard, watch.ready = heard, ready
    try:
        with deferred():
            yield
    finally:
        watch.heard = watch.ready = None
