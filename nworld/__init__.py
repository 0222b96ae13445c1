"""The normal world: kernel, page allocator, drivers, clients."""
