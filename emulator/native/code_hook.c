/*
 * Hooks at instructions, and where the engine looks whether it was asked to stop.
 *
 * After every load and store the engine calls a helper to see whether a memory hook asked for a stop. There are no memory
 * hooks here, and the calls cost a loop that copies half of its time. The function that generates them is exported and
 * bound when it is first called: the one below takes its place (emulator/native/__init__.py sees to the order), and
 * generates them only while a code hook is there, whose stops need them.
 */
#define _GNU_SOURCE
#include <dlfcn.h>

#include "core.h"

struct TCGContext; /* the engine's */

__attribute__((visibility("default"))) void check_exit_request_aarch64(struct TCGContext *context);

static unsigned code_hooks;

void check_exit_request_aarch64(struct TCGContext *context)
{
	static void (*generate)(struct TCGContext *context);

	if (code_hooks == 0) {
		return;
	}
	if (!generate) {
		void *engine = dlopen("libunicorn.so.2", RTLD_LAZY | RTLD_NOLOAD);

		*(void **)&generate = dlsym(engine, "check_exit_request_aarch64");
		dlclose(engine);
	}
	generate(context);
}

bool core_hook_code(struct machine *machine, uint64_t first, uint64_t last, uc_cb_hookcode_t callback, void *user,
		    uc_hook *hook)
{
	if (uc_hook_add(machine->core.engine, hook, UC_HOOK_CODE, (void *)callback, user, first, last) != UC_ERR_OK) {
		return false;
	}
	code_hooks++;
	return true;
}

bool core_code_is_hooked(void)
{
	return code_hooks != 0;
}

/* Removing a hook makes the engine look the hooked address up, which may be refused: that is nothing to act on. */
void core_unhook_code(struct machine *machine, uc_hook hook)
{
	struct refusal refusal = machine->core.refusal;

	uc_hook_del(machine->core.engine, hook);
	machine->core.refusal = refusal;
	code_hooks--;
}
