"""What holds for all tests."""

import signal

# A shell starts what runs in its background with Ctrl-C ignored, and processes hand that on to their own:
# tests that send it would wait for nothing.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
