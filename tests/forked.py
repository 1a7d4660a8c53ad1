"""Processes that tests kill: forked off a server that has everything loaded, so that a kill falls into the work."""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, TypeAlias

import pytest

Start: TypeAlias = Callable[..., BaseProcess]


def fork_server(modules: Sequence[str], repository: Path) -> ForkServerContext:
    """The server, with these modules loaded where nobody has started it before; the test is skipped without one."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        pytest.skip("this system cannot fork")
    context = multiprocessing.get_context("forkserver")
    assert isinstance(context, ForkServerContext)
    context.set_forkserver_preload(list(modules))
    with pytest.MonkeyPatch.context() as patch:
        # The server of Python 3.11 imports its modules before it is told where they are.
        patch.setenv("PYTHONPATH", os.pathsep.join([str(repository), str(repository / "src")]))
        forkserver.ensure_running()
    return context


@contextmanager
def starting(processes: ForkServerContext) -> Iterator[Start]:
    """Starts processes that do not outlive this."""
    running: list[BaseProcess] = []

    def start(target: Callable[..., None], *arguments: Any) -> BaseProcess:
        process: BaseProcess = processes.Process(target=target, args=arguments, daemon=True)
        process.start()
        running.append(process)
        return process

    try:
        yield start
    finally:
        for process in running:
            process.kill()
            process.join()
