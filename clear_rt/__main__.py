"""`python -m clear_rt` is `clear-rt`."""

import sys

from clear_rt.cli import main

sys.exit(main())
