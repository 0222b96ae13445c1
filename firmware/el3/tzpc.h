/* BP147 TZPC: secure SRAM and which devices the normal world may reach. */
#ifndef TZPC_H
#define TZPC_H

void tzpc_start(void);

#endif
