"""``python -m pipeline`` is the console script ``terraseam``."""

import sys

from pipeline.cli import main

sys.exit(main())
