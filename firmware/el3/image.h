/* Bounds of the monitor's image, from monitor.ld. Only their addresses mean something. */
#ifndef IMAGE_H
#define IMAGE_H

#include <stdint.h>

extern uint8_t __image_start[], __text_end[], __rodata_end[], __bss_end[];
extern uint8_t __stack_start[], __stack_end[], __panic_stack_start[], __panic_stack_end[];
extern const uint8_t el2_stub_start[], el2_stub_end[];

#endif
