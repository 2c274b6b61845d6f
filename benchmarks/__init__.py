"""Side by side with peers: every figure is a ratio taken in one run."""
