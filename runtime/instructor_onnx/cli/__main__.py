"""`python -m instructor_onnx.cli`, for where the `instructor-onnx` script is not on the path."""

import sys

from instructor_onnx.cli import main

sys.exit(main())
