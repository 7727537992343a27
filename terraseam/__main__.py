"""``python -m terraseam`` is the console script ``terraseam``."""

import sys

from terraseam.pipeline.cli import main

sys.exit(main())
