"""What llvm-mca, a model of processors, says of the kernels' inner loops: for processors that are not at hand."""
