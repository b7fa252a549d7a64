import multiprocessing

import pytest

from tests.hostile import child


@pytest.fixture(scope="session")
def start():
    """Starts a function of ``child`` in a process of its own."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([child.__name__])

    def started(target, *arguments):
        process = context.Process(target=target, args=arguments)
        process.start()
        return process

    return started
