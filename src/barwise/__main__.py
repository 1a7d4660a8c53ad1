"""`python -m barwise`: the command line where the script `barwise` is not on the path."""

import sys

from barwise.cli import main

if __name__ == "__main__":
    sys.exit(main())
