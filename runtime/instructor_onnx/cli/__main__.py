"""`python -m instructor_onnx.cli`: the same as `python -m instructor_onnx`."""

from instructor_onnx.cli import main

raise SystemExit(main())
