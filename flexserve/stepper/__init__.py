"""`flexserve step`: an interactive debugger of calls and instructions, forwards and backwards."""
