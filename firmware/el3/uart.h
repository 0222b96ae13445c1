/* UART1, the secure console (PL011). */
#ifndef UART_H
#define UART_H

#include <stdint.h>

void uart_start(void);
void uart_text(const char *text);
void uart_hexadecimal(uint64_t value);
void uart_decimal(uint64_t value);

#endif
