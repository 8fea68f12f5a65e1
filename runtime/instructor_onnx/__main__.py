"""`python -m instructor_onnx`, for where the `instructor-onnx` script is not on the path."""

from instructor_onnx.cli import main

raise SystemExit(main())
