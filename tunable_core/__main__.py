"""`python -m tunable_core` is the command `tunable`."""

import sys

from tunable_core.commands import main

sys.exit(main())
