"""What the command line prints: descriptions, measurements, comparisons, tables."""
