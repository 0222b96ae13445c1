"""The remote protocol of GDB, on a timeline: what gdb-multiarch needs to debug both worlds, forwards and backwards."""
