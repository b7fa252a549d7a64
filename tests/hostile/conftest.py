import multiprocessing

import pytest

from tests.hostile import child


@pytest.fixture(scope="session")
def start():
    """Returns a function that starts a function of ``child`` in its own process."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([child.__name__])

    def start_process(target, *arguments):
        process = context.Process(target=target, args=arguments)
        process.start()
        return process

    return start_process
