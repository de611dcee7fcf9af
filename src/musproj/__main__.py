"""`python -m musproj`: the same program as the `musproj` script."""

import sys

from musproj.cli import main

if __name__ == "__main__":
    sys.exit(main())
