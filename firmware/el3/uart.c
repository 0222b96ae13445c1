#include "uart.h"

#include "memory_map.h"
#include "registers.h"
#include "sysreg.h"

#define MAX_TEXT 128
#define MAX_POLLS 1000

#define SEND (UART_CR_UARTEN_MASK | UART_CR_TXE_MASK)
#define EIGHT_BITS_AND_FIFO (UART_LCR_H_WLEN_MASK | UART_LCR_H_FEN_MASK)

void uart_start(void)
{
	device_write(UART1_BASE + UART_CR, 0);
	device_write(UART1_BASE + UART_LCR_H, EIGHT_BITS_AND_FIFO);
	device_write(UART1_BASE + UART_CR, SEND);
}

/* A console that does not drain loses text: it must not hold the monitor. */
static void put(char character)
{
	for (unsigned polls = 0; polls < MAX_POLLS; polls++) {
		if (!(device_read(UART1_BASE + UART_FR) & UART_FR_TXFF_MASK)) {
			device_write(UART1_BASE + UART_DR, (uint8_t)character);
			return;
		}
	}
}

void uart_text(const char *text)
{
	for (unsigned i = 0; i < MAX_TEXT && text[i]; i++) {
		put(text[i]);
	}
}

void uart_hexadecimal(uint64_t value)
{
	uart_text("0x");
	for (int shift = 60; shift >= 0; shift -= 4) {
		put("0123456789abcdef"[value >> shift & 0xf]);
	}
}

void uart_decimal(uint64_t value)
{
	char digits[21];
	unsigned first = sizeof digits - 1;

	digits[first] = '\0';
	do {
		digits[--first] = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	uart_text(&digits[first]);
}
