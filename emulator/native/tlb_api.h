/* What an entry of a TLB is, by the names that whoever inspects one uses. */
#ifndef TLB_API_H
#define TLB_API_H

/* The translation regime that it belongs to. The SMMU's are all of EL1_NORMAL. */
enum regime {
	REGIME_EL3,
	REGIME_EL2,
	REGIME_EL1_SECURE,
	REGIME_EL1_NORMAL,
	REGIMES,
};

enum tlb_kind { TLB_STAGE1, TLB_STAGE2, TLB_COMBINED };

#endif
