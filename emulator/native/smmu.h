/* SMMUv3, stage 2 only: what the DMA masters see of it. Written by DEVICES; placeholder until then. */
#ifndef SMMU_H
#define SMMU_H
struct smmu {
	bool enabled;
};
#endif
