/* The end of the line: says on UART1 what is wrong, by name, and stops the core. */
#ifndef PANIC_H
#define PANIC_H

#include <stdint.h>

_Noreturn void panic(const char *what);
/* `vector` is the index in EL3's vector table of an exception that has no business there. */
_Noreturn void panic_exception(uint64_t vector);

#endif
