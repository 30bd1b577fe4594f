"""`python -m mpreg_lab` is `mpreg-lab`."""

import sys

from mpreg_lab.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    sys.exit(main())
