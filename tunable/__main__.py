"""`python -m tunable` is the command `tunable`."""

import sys

from tunable.commands import main

sys.exit(main())
