"""What holds for all tests."""

import signal
import sys

# A shell starts what runs in its background with Ctrl-C ignored, and processes hand that on to their own:
# tests that send it would wait for nothing.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """What tests train is so small that optimising its graphs takes longer than it saves: a quarter of a
    training of four steps. Processes that tests start keep to what users have."""
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is not None:
        tensorflow.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
