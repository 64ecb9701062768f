"""``python -m ffcore``: the same as ``ffcore``."""

import sys

from ffcore.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
