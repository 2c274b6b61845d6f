"""From kernels to machine code: targets, compiler, linker, cache."""
