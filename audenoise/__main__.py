"""`python -m audenoise` is the same as `audenoise`."""

import sys

from audenoise.cli import main

# Worker processes import this module again under another name and must not start the command a second time.
if __name__ == "__main__":
    sys.exit(main())
