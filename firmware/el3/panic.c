#include "panic.h"

#include "sysreg.h"
#include "uart.h"

static const char *const kinds[] = {"synchronous exception", "IRQ", "FIQ", "SError"};
static const char *const origins[] = {"EL3 on SP_EL0", "EL3", "a lower level", "a lower level in AArch32"};

_Noreturn void monitor_halted(void); /* in vectors.S */

/* A panic that panics (UART1 out of reach) stops without words. */
static void enter_panic(void)
{
	static uint64_t entered;

	if (entered++) {
		monitor_halted();
	}
	uart_text("monitor: panic: ");
}

static void print_register(const char *name, uint64_t value)
{
	uart_text(name);
	uart_hexadecimal(value);
}

_Noreturn void panic(const char *what)
{
	enter_panic();
	uart_text(what);
	uart_text("\n");
	monitor_halted();
}

_Noreturn void panic_exception(uint64_t vector)
{
	enter_panic();
	uart_text(kinds[vector & 3]);
	uart_text(" from ");
	uart_text(origins[vector >> 2 & 3]);
	print_register(": ESR ", READ_SYSREG(esr_el3));
	print_register(" FAR ", READ_SYSREG(far_el3));
	print_register(" ELR ", READ_SYSREG(elr_el3));
	print_register(" SPSR ", READ_SYSREG(spsr_el3));
	uart_text("\n");
	monitor_halted();
}
