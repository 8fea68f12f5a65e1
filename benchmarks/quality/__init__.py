"""How good a bundle is: real tasks with gold labels, scored by scikit-learn, scipy and ir-measures."""
