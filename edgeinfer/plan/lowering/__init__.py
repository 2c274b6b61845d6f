"""Lowering: one file per operator family turns nodes into kernel steps."""
