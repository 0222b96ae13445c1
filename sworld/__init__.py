"""The secure world: kernel, Flex-Mem pool, model serving."""
