"""What tests of faults need of the process that runs them."""

import signal

import pytest


@pytest.fixture(autouse=True)
def interruptible():
    """A program that was started in the background ignores Ctrl-C, and so would all that it starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
