"""Work on many networks spread over processes, of this machine or of several, through joblib."""

from __future__ import annotations

import functools
import importlib.util
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from orthotrace.analysis.networks.given import GivenNetwork
from orthotrace.analysis.networks.kept import code_digest
from orthotrace.analysis.rdm.arguments import whole
from orthotrace.core.errors import UserError, one_line, refuse_unknown
from orthotrace.core.processes import follow_parent

Backend = Literal["loky", "dask", "ray"]
# Package that a backend needs -> the extra that installs it is called as the backend.
PACKAGES = {"dask": "distributed", "ray": "ray"}
# Of a cluster that runs already.
ADDRESSES = {"dask": "DASK_SCHEDULER_ADDRESS", "ray": "RAY_ADDRESS"}
THREADS = "OMP_NUM_THREADS"


@dataclass(frozen=True)
class Spreading:
    """How work on networks is spread over processes.

    Attributes:
        jobs: processes that work at once, at least 1, which is this one.
        backend: of joblib: loky, processes of this machine; dask or ray, also those of a cluster, whose machines have
            the folders of runs and analysis under the same paths.

    Raises:
        UserError: another number or name, or a package that is not installed.

    Example:
        >>> list(Spreading().each(abs, [(-1,), (2,)]))
        [1, 2]
        >>> Spreading(0)
        Traceback (most recent call last):
        ...
        orthotrace.core.errors.UserError: parallel.jobs: a whole number of at least 1 is needed (got 0)
    """

    jobs: int = 1
    backend: Backend = "loky"

    def __post_init__(self) -> None:
        whole(self.jobs, "parallel.jobs", 1)
        refuse_unknown([self.backend], get_args(Backend), "there is no backend", "parallel.backend")
        package = PACKAGES.get(self.backend)
        if package is not None and importlib.util.find_spec(package) is None:
            raise UserError(
                f"{self.backend} needs the package {package}: pip install 'orthotrace[{self.backend}]'",
                "parallel.backend",
            )

    def each(self, function: Callable[..., Any], given: Sequence[tuple[Any, ...]], *common: Any) -> Iterator[Any]:
        """What a function of a module gives of each of some arguments, in their order; one error ends it.

        Args:
            function: called with one of the arguments, then with those that all share.
            given: arguments of each call.
            common: of all calls; sent once to each process.

        Raises:
            UserError: what the first call in order raises, arguments that cannot be sent, or a process that was killed.
        """
        if self.jobs == 1 or len(given) < 2:
            for one in given:
                yield function(*one, *common)
            return
        import joblib
        from joblib.externals.loky.process_executor import BrokenProcessPool

        surroundings = _Surroundings.here()
        shared = _pickled((function, common))
        calls = [joblib.delayed(_call)(surroundings, shared, _pickled(one)) for one in given]
        with self._workers():
            # Ray's backend gives all answers at once. Batches of several calls would leave processes idle at the end.
            how = "list" if self.backend == "ray" else "generator"
            one_by_one: Any = {"batch_size": 1}
            answers: Any = None
            try:
                answers = joblib.Parallel(n_jobs=self.jobs, **one_by_one, return_as=how)(calls)
                for error, found in answers:
                    if error is not None:
                        raise error
                    yield found
            except BrokenProcessPool as error:
                raise UserError(
                    "a worker process was killed, maybe for want of memory; the same command continues, "
                    "with fewer parallel.jobs where memory is short"
                ) from error
            finally:
                if isinstance(answers, Generator):
                    with warnings.catch_warnings():
                        # After an error: what is not needed any more is cancelled on purpose.
                        warnings.filterwarnings("ignore", message=".*tasks which were still being processed")
                        warnings.filterwarnings("ignore", message=".*tasks have been successfully executed")
                        answers.close()

    @contextmanager
    def _workers(self) -> Iterator[None]:
        """The backend of joblib, with processes that end with the block; those of a running cluster stay."""
        import joblib

        address = os.environ.get(ADDRESSES.get(self.backend, ""))
        if self.backend == "loky":
            with joblib.parallel_config("loky"):
                try:
                    yield
                finally:
                    from joblib.externals.loky import get_reusable_executor

                    get_reusable_executor().shutdown(wait=True, kill_workers=True)
        elif self.backend == "dask":
            from distributed import Client  # pyright: ignore[reportMissingImports]

            own: dict[str, Any] = {"n_workers": self.jobs, "threads_per_worker": 1, "dashboard_address": None}
            with Client(address) if address else Client(**own), joblib.parallel_config("dask"):
                yield
        else:
            import ray  # pyright: ignore[reportMissingImports]
            from ray.util.joblib import register_ray  # pyright: ignore[reportMissingImports]

            own = {"num_cpus": self.jobs, "include_dashboard": False}
            ray.init(address=address, log_to_driver=False, logging_level="ERROR", **({} if address else own))
            register_ray()
            try:
                with joblib.parallel_config("ray"):
                    yield
            finally:
                ray.shutdown()


def check_spread(given: Sequence[GivenNetwork], spreading: Spreading, out: Path | None) -> None:
    """Refuse what cannot be spread, before any network is read: processes hand on what they make as files.

    Args:
        given: networks that were given, where some were.
        spreading: over several processes, or over none.
        out: the folder of the analysis.

    Raises:
        UserError: no folder to keep files in, or a network in memory that no file tells apart.
    """
    if spreading.jobs == 1:
        return
    if out is None:
        raise UserError("processes keep what they make in the folder of the analysis: give out", "parallel.jobs")
    for run in given:
        if any(stage.digest is None for stage in run.stages.values()):
            raise UserError(
                f"{run.name} lies in memory, and only networks from files are spread: give it as a callable by its "
                "path and weights, or as activations in a file; or leave it at 1",
                "parallel.jobs",
            )


@dataclass(frozen=True)
class _Surroundings:
    """What a process needs to work as the one that asks.

    Attributes:
        process: that asks, and the machine on which it is.
        folder: in which it works.
        path: on which its modules are found.
        threads: of a process.
        dtype: of torch by default.
        code: digest of orthotrace's.
    """

    process: int
    folder: str
    path: tuple[str, ...]
    threads: int
    dtype: torch.dtype
    code: str

    @classmethod
    def here(cls) -> _Surroundings:
        """Those of this process."""
        said = os.environ.get(THREADS, "")
        threads = int(said) if said.isdecimal() and int(said) else 1
        return cls(os.getpid(), str(Path.cwd()), tuple(sys.path), threads, torch.get_default_dtype(), code_digest())

    def enter(self) -> None:
        """Make them those of this process, which works for another one."""
        from threadpoolctl import threadpool_limits

        if self.code != code_digest():
            raise UserError("workers have another version of orthotrace or torch than this command", "parallel.backend")
        try:
            os.chdir(self.folder)
        except OSError as error:
            raise UserError(f"workers do not find {self.folder}: {one_line(error)}", "parallel.backend") from error
        sys.path.extend(one for one in self.path if one not in sys.path)
        torch.set_default_dtype(self.dtype)
        torch.set_num_threads(self.threads)
        threadpool_limits(self.threads)
        parent = multiprocessing.parent_process()
        if parent is not None and parent.pid == self.process:
            # Of a terminal it comes to all processes; the command ends its own.
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGINT, signal.SIG_IGN)
            _follow(self.process)


@functools.cache
def _follow(parent: int) -> None:
    """End with the command, also where it is killed."""
    follow_parent(143, parent=parent)


@functools.lru_cache(maxsize=1)
def _shared(pickled: bytes) -> Any:
    """What all calls share, read once."""
    return pickle.loads(pickled)


def _call(surroundings: _Surroundings, shared: bytes, one: bytes) -> tuple[Exception | None, Any]:
    """One call in a process that works for another; an error is an answer, since backends wrap what is raised."""
    try:
        surroundings.enter()
        function, common = _shared(shared)
        return None, function(*pickle.loads(one), *common)
    except UserError as error:
        # Its cause may be anything, and need not be sent.
        return UserError(error.message, error.key), None


def _pickled(what: Any) -> bytes:
    """Bytes from which a process of the same code makes it again, functions of a script or a notebook among it."""
    import cloudpickle

    try:
        return cloudpickle.dumps(what)
    # What a user's own objects raise may be anything.
    except Exception as error:
        raise UserError(
            f"what is to be spread cannot be sent to other processes ({one_line(error)}): leave it at 1",
            "parallel.jobs",
        ) from error
