"""What the launcher of the Flex Template runs."""

import sys

from terraseam.pipeline.deploy.flex_template import run_launcher

sys.exit(run_launcher())
