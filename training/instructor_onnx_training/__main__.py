try:
    from instructor_onnx_training.cli import main

    raise SystemExit(main())
except KeyboardInterrupt:  # while PyTorch is being imported: nothing has begun
    raise SystemExit(130) from None
