/*
 * The architectural TLB: an entry leaves only by a TLBI that covers it, so a forgotten TLBI is a bug that shows every
 * time, on every host. (The engine's own TLB merely caches this one.)
 *
 * Three kinds of entry: stage 1 (VA to IPA, of a block's or page's size), stage 2 (IPA to PA), and combined (VA page to
 * PA page), the child of a stage-1 entry: it dies with its parent, and only with it. So TLBI IPAS2E1 alone leaves the
 * combined translation in use, as the architecture permits and software must expect (Arm ARM D8.13).
 */
#ifndef TLB_H
#define TLB_H

#include <stdbool.h>
#include <stdint.h>

#include "tlb_api.h"

#define TLB_VMIDS 65536
#define TLB_SIZES 5 /* of entries */

struct tlb_entry {
	uint64_t address;    /* input: VA or IPA, aligned to the entry's size */
	uint64_t output;
	uint64_t ipa;        /* combined: the IPA page */
	uint64_t stamp;      /* 0: free */
	uint64_t serial;     /* stage 1: its own name; combined: its parent's */
	uint16_t vmid;
	uint16_t asid;
	uint8_t regime;
	uint8_t kind;
	uint8_t shift;       /* log2 of the size */
	uint8_t level;       /* of the descriptor, for fault status codes */
	uint8_t permissions; /* stage 1: both privileges'; stage 2 and combined: stage 2's */
	uint8_t attributes;
	uint8_t shareability;
	bool global;
	bool non_secure;
};

struct tlb {
	struct tlb_entry *entries;
	uint64_t capacity;   /* a power of two */
	uint64_t used;
	unsigned sizes;      /* how many entry sizes look-ups try: those of the 64 KiB granule only once it was used */
	uint64_t now;        /* grows with every insertion and invalidation, */
	uint64_t drops;      /* and this with every invalidation: until then what was found will be found */
	uint64_t all[REGIMES];
	uint64_t *vmid_stage1; /* per VMID: everything of stage 1 older than this is gone */
	uint64_t *vmid_stage2;
};

/* When a range of pages was found in a TLB. It holds until an invalidation; if a page was lacking, until anything happens. */
struct tlb_found {
	uint64_t drops;
	uint64_t now;
	bool lacking;
};

static inline bool tlb_still(const struct tlb *tlb, const struct tlb_found *found)
{
	return found->drops == tlb->drops && (!found->lacking || found->now == tlb->now);
}

/* What identifies the translation context of a look-up. */
struct tlb_context {
	enum regime regime;
	uint16_t vmid;       /* 0 where the regime has none */
	uint16_t asid;
};

bool tlb_init(struct tlb *tlb);
void tlb_release(struct tlb *tlb);
/* The live entry of this kind that covers address, or NULL. Valid until the next tlb_insert. */
struct tlb_entry *tlb_find(struct tlb *tlb, enum tlb_kind kind, struct tlb_context context, uint64_t address);
/* Whether a look-up could still find and use this entry; a combined one goes with its parent. */
bool tlb_is_usable(const struct tlb *tlb, const struct tlb_entry *entry);
struct tlb_entry *tlb_insert(struct tlb *tlb, const struct tlb_entry *entry);
void tlb_drop_regime(struct tlb *tlb, enum regime regime);                       /* stage 1 and 2, every VMID */
void tlb_drop_vmid(struct tlb *tlb, enum regime regime, uint16_t vmid, bool stage2);
void tlb_drop_asid(struct tlb *tlb, enum regime regime, uint16_t vmid, uint16_t asid);
/* Stage-1 entries that cover address; any_asid: all address spaces. Global entries match any ASID. */
void tlb_drop_address(struct tlb *tlb, struct tlb_context context, uint64_t address, bool any_asid);
void tlb_drop_ipa(struct tlb *tlb, enum regime regime, uint16_t vmid, uint64_t address);

#endif
