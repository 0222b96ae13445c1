/* The register block, at SP: what to plant, then what was found. Each part holds 64-bit words but for V, of 128 bits. */
#ifndef REGISTER_BLOCK_H
#define REGISTER_BLOCK_H

#define REGISTERS_X          0x000 /* x0-x30 */
#define REGISTERS_NZCV       0x0f8 /* found only */
#define REGISTERS_FPCR       0x100
#define REGISTERS_FPSR       0x108
#define REGISTERS_V          0x110
#define REGISTERS_EL1        0x310 /* in the order of registers_names */

#define REGISTERS_PLANTED    0x000
#define REGISTERS_FOUND      0x800
#define REGISTERS_FOUND_X30  (REGISTERS_FOUND + 0x0f0)
#define REGISTERS_BLOCK_SIZE 0x1000

#endif
