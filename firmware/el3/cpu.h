/* Control registers that are set once: what traps where, what EL2 lets pass. */
#ifndef CPU_H
#define CPU_H

/* Panics if the core lacks what the monitor is built on. */
void cpu_check(void);
void cpu_configure(void);

#endif
