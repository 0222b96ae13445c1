/* What the registers of an operation enable describe: a 1x1 convolution that the model does, or why it does not. */
#include "machine.h"

#define INT8 NPU_CNA_CONV_CON1_IN_PRECISION_INT8
#define FP16 NPU_CNA_CONV_CON1_IN_PRECISION_FP16
#define INT32 NPU_CNA_CONV_CON1_IN_PRECISION_INT32
#define FP32 NPU_CNA_CONV_CON1_IN_PRECISION_FP32

#define ALL UINT32_MAX

/* Bits that must have one value: what others would ask for is not modelled. */
static const struct rule {
	uint32_t offset;
	uint32_t mask;
	uint32_t value;
} rules[] = {
	{NPU_PC_TASK_DMA_BASE_ADDR, ALL, 0},
	{NPU_CNA_CONV_CON1, ~(NPU_CNA_CONV_CON1_IN_PRECISION_MASK | NPU_CNA_CONV_CON1_PROC_PRECISION_MASK), 0},
	{NPU_CNA_CONV_CON2, ~NPU_CNA_CONV_CON2_FEATURE_GRAINS_MASK, 0},
	{NPU_CNA_CONV_CON3, ALL, 1 << NPU_CNA_CONV_CON3_CONV_X_STRIDE_SHIFT | 1 << NPU_CNA_CONV_CON3_CONV_Y_STRIDE_SHIFT},
	{NPU_CNA_DATA_SIZE3, NPU_CNA_DATA_SIZE3_SURF_MODE_MASK, 0},
	{NPU_CNA_WEIGHT_SIZE2, NPU_CNA_WEIGHT_SIZE2_WEIGHT_WIDTH_MASK | NPU_CNA_WEIGHT_SIZE2_WEIGHT_HEIGHT_MASK,
	 1 << NPU_CNA_WEIGHT_SIZE2_WEIGHT_WIDTH_SHIFT | 1 << NPU_CNA_WEIGHT_SIZE2_WEIGHT_HEIGHT_SHIFT},
	{NPU_CNA_CBUF_CON0, NPU_CNA_CBUF_CON0_WEIGHT_REUSE_MASK | NPU_CNA_CBUF_CON0_FC_DATA_BANK_MASK, 0},
	{NPU_CNA_CVT_CON0, NPU_CNA_CVT_CON0_CVT_BYPASS_MASK, 1},
	{NPU_CNA_FC_CON0, NPU_CNA_FC_CON0_FC_SKIP_EN_MASK, 0},
	{NPU_CNA_FC_CON1, ALL, 0},
	{NPU_CNA_FC_CON2, ALL, 0},
	{NPU_CNA_PAD_CON0, ALL, 0},
	{NPU_CNA_DCOMP_CTRL, ALL, 0},
	{NPU_CNA_DCOMP_REGNUM, ALL, 0},
	{NPU_CORE_MISC_CFG, NPU_CORE_MISC_CFG_DW_EN_MASK, 0},
	{NPU_CORE_CLIP_TRUNCATE, ALL, 0},
	{NPU_CORE_RESERVED_3030, ALL, 0},
	{NPU_DPU_FEATURE_MODE_CFG, ~NPU_DPU_FEATURE_MODE_CFG_BURST_LEN_MASK, 2 << NPU_DPU_FEATURE_MODE_CFG_OUTPUT_MODE_SHIFT},
	{NPU_DPU_DATA_FORMAT, NPU_DPU_DATA_FORMAT_MC_SURF_OUT_MASK, 0},
	{NPU_DPU_OFFSET_PEND, ALL, 0},
	{NPU_DPU_DATA_CUBE_HEIGHT, NPU_DPU_DATA_CUBE_HEIGHT_MINMAX_CTL_MASK, 0},
	{NPU_DPU_DATA_CUBE_NOTCH_ADDR, ALL, 0},
	{NPU_DPU_BS_CFG, NPU_DPU_BS_CFG_BS_BYPASS_MASK, 1},
	{NPU_DPU_BS_OW_CFG,
	 NPU_DPU_BS_OW_CFG_OW_SRC_MASK | NPU_DPU_BS_OW_CFG_TP_ORG_EN_MASK | NPU_DPU_BS_OW_CFG_RGP_CNTER_MASK, 0},
	{NPU_DPU_WDMA_SIZE_0, NPU_DPU_WDMA_SIZE_0_SIZE_C_WDMA_MASK | NPU_DPU_WDMA_SIZE_0_TP_PRECISION_MASK, 0},
	{NPU_DPU_BN_CFG, NPU_DPU_BN_CFG_BN_BYPASS_MASK, 1},
	{NPU_DPU_EW_CFG, NPU_DPU_EW_CFG_EW_BYPASS_MASK, 1},
	{NPU_DPU_OUT_CVT_SHIFT, ~NPU_DPU_OUT_CVT_SHIFT_OUT_CVT_SHIFT_MASK, 0},
	{NPU_DPU_RESERVED_40C4, ALL, 0},
};

static bool refuse(struct machine *machine, struct npu_core *core, enum npu_problem problem, uint32_t offset)
{
	npu_fail(machine, core, problem, offset, npu_word(core, offset));
	return false;
}

static bool obeys_rules(struct machine *machine, struct npu_core *core)
{
	for (unsigned i = 0; i < sizeof rules / sizeof rules[0]; i++) {
		if ((npu_word(core, rules[i].offset) & rules[i].mask) != rules[i].value) {
			return refuse(machine, core, NPU_NOT_IMPLEMENTED, rules[i].offset);
		}
	}
	for (unsigned i = 0; i < 16; i++) {
		if (npu_word(core, NPU_CNA_DCOMP_AMOUNT(i))) {
			return refuse(machine, core, NPU_NOT_IMPLEMENTED, NPU_CNA_DCOMP_AMOUNT(i));
		}
	}
	return true;
}

/* --- sizes in units of the layouts ------------------------------------------------------------------------------------------ */

static uint32_t divide_up(uint32_t value, uint32_t step)
{
	return value / step + (value % step != 0);
}

static uint32_t operand_bytes(const struct npu_task *task)
{
	return task->fp16 ? 2 : 1;
}

uint32_t npu_kernels_a_group(const struct npu_task *task)
{
	return task->fp16 ? 16 : 32;
}

uint32_t npu_groups(const struct npu_task *task)
{
	return divide_up(task->kernels, npu_kernels_a_group(task));
}

uint32_t npu_blocks(const struct npu_task *task)
{
	return divide_up(task->channels, NPU_BLOCK_CHANNELS);
}

uint32_t npu_surfaces(const struct npu_task *task)
{
	return divide_up(task->channels * operand_bytes(task), NPU_ATOM);
}

uint32_t npu_kept_surfaces(const struct npu_task *task)
{
	return npu_blocks(task) * NPU_BLOCK_CHANNELS * operand_bytes(task) / NPU_ATOM;
}

uint32_t npu_results_a_surface(const struct npu_task *task)
{
	return task->output == INT8 ? 16 : task->output == FP16 ? 8 : 4;
}

bool npu_task_fits(const struct npu_task *task)
{
	uint64_t groups = npu_groups(task);
	bool result = task->output == (task->fp16 ? FP32 : INT32) || task->output == (task->fp16 ? FP16 : INT8);

	return task->rows && task->channels && task->kernels && result && task->channels <= 0xffff &&
	       task->kernels <= task->results && task->results <= groups * npu_kernels_a_group(task) &&
	       task->kernels <= 0x4000 && task->real_channels <= task->channels && task->rows <= NPU_MOST_ROWS &&
	       (uint64_t)npu_surfaces(task) * task->rows * NPU_ATOM <= NPU_BUFFER_BYTES;
}

/* --- registers that must agree ------------------------------------------------------------------------------------------------ */

struct agreement {
	uint32_t offset;
	uint32_t mask;
	uint32_t value;
};

static bool agree(struct machine *machine, struct npu_core *core, const struct agreement *agreements, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		if ((npu_word(core, agreements[i].offset) & agreements[i].mask) != agreements[i].value) {
			return refuse(machine, core, NPU_BAD_VALUE, agreements[i].offset);
		}
	}
	return true;
}

#define OF(core, reg, field) FIELD(npu_word(core, reg), reg##_##field)

static bool read_precision(struct machine *machine, struct npu_core *core, struct npu_task *task)
{
	uint32_t in = (uint32_t)OF(core, NPU_CNA_CONV_CON1, IN_PRECISION);
	const struct agreement agreements[] = {
		{NPU_CNA_CONV_CON1, NPU_CNA_CONV_CON1_PROC_PRECISION_MASK, in << NPU_CNA_CONV_CON1_PROC_PRECISION_SHIFT},
		{NPU_CORE_MISC_CFG, NPU_CORE_MISC_CFG_PROC_PRECISION_MASK, in << NPU_CORE_MISC_CFG_PROC_PRECISION_SHIFT},
		{NPU_DPU_DATA_FORMAT, NPU_DPU_DATA_FORMAT_IN_PRECISION_MASK, in << NPU_DPU_DATA_FORMAT_IN_PRECISION_SHIFT},
		{NPU_DPU_DATA_FORMAT, NPU_DPU_DATA_FORMAT_PROC_PRECISION_MASK, in},
	};

	if (in != INT8 && in != FP16) {
		return refuse(machine, core, NPU_NOT_IMPLEMENTED, NPU_CNA_CONV_CON1);
	}
	task->fp16 = in == FP16;
	task->output = (uint8_t)OF(core, NPU_DPU_DATA_FORMAT, OUT_PRECISION);
	if (task->output != in && task->output != (task->fp16 ? FP32 : INT32)) {
		return refuse(machine, core, NPU_NOT_IMPLEMENTED, NPU_DPU_DATA_FORMAT);
	}
	return agree(machine, core, agreements, sizeof agreements / sizeof agreements[0]);
}

/* Rows are the pixels of an image: width x height, in lines that follow each other. */
static bool read_sizes(struct machine *machine, struct npu_core *core, struct npu_task *task)
{
	uint32_t width = (uint32_t)OF(core, NPU_CNA_DATA_SIZE0, DATAIN_WIDTH);
	uint32_t height = (uint32_t)OF(core, NPU_CNA_DATA_SIZE0, DATAIN_HEIGHT);
	uint32_t size = (height - 1) << 16 | (width - 1);
	uint64_t weights;

	task->rows = width * height;
	task->channels = (uint32_t)OF(core, NPU_CNA_DATA_SIZE1, DATAIN_CHANNEL);
	task->real_channels = (uint32_t)OF(core, NPU_CNA_DATA_SIZE1, DATAIN_CHANNEL_REAL) + 1;
	task->kernels = (uint32_t)OF(core, NPU_CNA_WEIGHT_SIZE2, WEIGHT_KERNELS);
	task->results = (uint32_t)OF(core, NPU_DPU_DATA_CUBE_CHANNEL, CHANNEL) + 1;
	task->real_results = (uint32_t)OF(core, NPU_DPU_DATA_CUBE_CHANNEL, ORIG_CHANNEL) + 1;
	if (!task->rows) {
		return refuse(machine, core, NPU_BAD_VALUE, NPU_CNA_DATA_SIZE0);
	}
	if (!task->channels || task->real_channels > task->channels) {
		return refuse(machine, core, NPU_BAD_VALUE, NPU_CNA_DATA_SIZE1);
	}
	if (!task->kernels) {
		return refuse(machine, core, NPU_BAD_VALUE, NPU_CNA_WEIGHT_SIZE2);
	}
	if (task->results < task->kernels || task->real_results > task->results ||
	    task->results > npu_groups(task) * npu_kernels_a_group(task)) {
		return refuse(machine, core, NPU_BAD_VALUE, NPU_DPU_DATA_CUBE_CHANNEL);
	}
	weights = (uint64_t)task->channels * operand_bytes(task) * task->kernels;
	if (weights > UINT32_MAX) {
		return refuse(machine, core, NPU_TOO_LARGE, NPU_CNA_WEIGHT_SIZE0);
	}
	const struct agreement agreements[] = {
		{NPU_CNA_DATA_SIZE2, ALL, width},
		{NPU_CNA_DATA_SIZE3, NPU_CNA_DATA_SIZE3_DATAOUT_ATOMICS_MASK, task->rows},
		{NPU_CNA_WEIGHT_SIZE1, ALL, task->channels * operand_bytes(task)},
		{NPU_CNA_WEIGHT_SIZE0, ALL, (uint32_t)weights},
		{NPU_CNA_FC_DATA_SIZE0, ALL, width << NPU_CNA_FC_DATA_SIZE0_DMA_WIDTH_SHIFT | height},
		{NPU_CNA_FC_DATA_SIZE1, ALL, task->channels},
		{NPU_CNA_DMA_CON1, ALL, 4 * width},
		{NPU_CORE_DATAOUT_SIZE_0, ALL, size},
		{NPU_CORE_DATAOUT_SIZE_1, ALL, task->results - 1},
		{NPU_DPU_DATA_CUBE_WIDTH, ALL, width - 1},
		{NPU_DPU_DATA_CUBE_HEIGHT, ALL, height - 1},
		{NPU_DPU_WDMA_SIZE_0, ALL, task->results - 1},
		{NPU_DPU_WDMA_SIZE_1, ALL, size},
	};

	return agree(machine, core, agreements, sizeof agreements / sizeof agreements[0]);
}

static bool fits_buffer(struct machine *machine, struct npu_core *core, const struct npu_task *task)
{
	uint32_t data = (uint32_t)OF(core, NPU_CNA_CBUF_CON0, DATA_BANK) * NPU_BANK_BYTES;
	uint32_t weights = (uint32_t)OF(core, NPU_CNA_CBUF_CON0, WEIGHT_BANK) * NPU_BANK_BYTES;
	uint64_t features = (uint64_t)npu_surfaces(task) * task->rows * NPU_ATOM;

	if (data + weights > NPU_BUFFER_BYTES || features > data || task->channels * operand_bytes(task) > weights) {
		return refuse(machine, core, NPU_TOO_LARGE, NPU_CNA_CBUF_CON0);
	}
	return true;
}

/* --- where it all lies -------------------------------------------------------------------------------------------------------- */

static bool reaches(struct machine *machine, struct npu_core *core, uint32_t offset, uint64_t bytes)
{
	uint32_t address = npu_word(core, offset);

	if (address % NPU_ATOM) {
		return refuse(machine, core, NPU_UNALIGNED, offset);
	}
	if (bytes > (UINT64_C(1) << 32) - address) {
		return refuse(machine, core, NPU_TOO_LARGE, offset);
	}
	return true;
}

static uint64_t extent(uint32_t surfaces, uint32_t stride, uint32_t rows)
{
	return ((uint64_t)(surfaces - 1) * stride + rows) * NPU_ATOM;
}

/* From the end of a surface's first four lines: what programs give for heights that are no multiple of four is dense. */
static uint32_t feature_stride(const struct npu_core *core, const struct npu_task *task)
{
	int32_t beyond = (int32_t)(npu_word(core, NPU_CNA_DMA_CON2) << 4) >> 4;
	int32_t stride = beyond + 4 * (int32_t)OF(core, NPU_CNA_DATA_SIZE0, DATAIN_WIDTH);

	return stride > (int32_t)task->rows ? (uint32_t)stride : task->rows;
}

static bool read_places(struct machine *machine, struct npu_core *core, struct npu_task *task)
{
	uint32_t surfaces = divide_up(task->results, npu_results_a_surface(task));
	uint32_t atoms = npu_kernels_a_group(task) / npu_results_a_surface(task);
	uint32_t size = (atoms - 1) << NPU_DPU_BS_OW_CFG_SIZE_E_0_SHIFT | (atoms - 1) << NPU_DPU_BS_OW_CFG_SIZE_E_1_SHIFT |
			(atoms - 1) << NPU_DPU_BS_OW_CFG_SIZE_E_2_SHIFT;
	uint64_t weights = (uint64_t)npu_groups(task) * npu_blocks(task) * NPU_BLOCK_BYTES;

	task->features = npu_word(core, NPU_CNA_FEATURE_DATA_ADDR);
	task->weights = npu_word(core, NPU_CNA_DCOMP_ADDR0);
	task->output_address = npu_word(core, NPU_DPU_DST_BASE_ADDR);
	task->feature_stride = feature_stride(core, task);
	task->output_stride = (uint32_t)OF(core, NPU_DPU_DST_SURF_STRIDE, DST_SURF_STRIDE);
	if (task->output_stride < task->rows) {
		return refuse(machine, core, NPU_BAD_VALUE, NPU_DPU_DST_SURF_STRIDE);
	}
	const struct agreement agreements[] = {
		{NPU_DPU_BS_OW_CFG,
		 NPU_DPU_BS_OW_CFG_SIZE_E_0_MASK | NPU_DPU_BS_OW_CFG_SIZE_E_1_MASK | NPU_DPU_BS_OW_CFG_SIZE_E_2_MASK, size},
		{NPU_DPU_SURFACE_ADD, ALL, task->output_stride * atoms << NPU_DPU_SURFACE_ADD_SURF_ADD_SHIFT},
	};

	if (!(npu_word(core, NPU_DPU_BS_OW_CFG) & NPU_DPU_BS_OW_CFG_OD_BYPASS_MASK) && npu_word(core, NPU_DPU_BS_OW_OP)) {
		return refuse(machine, core, NPU_NOT_IMPLEMENTED, NPU_DPU_BS_OW_OP);
	}
	return agree(machine, core, agreements, sizeof agreements / sizeof agreements[0]) &&
	       reaches(machine, core, NPU_CNA_FEATURE_DATA_ADDR,
		       extent(npu_surfaces(task), task->feature_stride, task->rows)) &&
	       reaches(machine, core, NPU_CNA_DCOMP_ADDR0, weights) &&
	       reaches(machine, core, NPU_DPU_DST_BASE_ADDR, extent(surfaces, task->output_stride, task->rows));
}

static bool read_conversion(struct machine *machine, struct npu_core *core, struct npu_task *task)
{
	bool half = npu_word(core, NPU_DPU_OUT_CVT_SCALE) & NPU_DPU_OUT_CVT_SCALE_FP32TOFP16_EN_MASK;

	task->convert_offset = (int32_t)npu_word(core, NPU_DPU_OUT_CVT_OFFSET);
	task->convert_scale = (int16_t)OF(core, NPU_DPU_OUT_CVT_SCALE, OUT_CVT_SCALE);
	task->convert_shift = (uint32_t)OF(core, NPU_DPU_OUT_CVT_SHIFT, OUT_CVT_SHIFT);
	if (half != (task->output == FP16)) {
		return refuse(machine, core, NPU_BAD_VALUE, NPU_DPU_OUT_CVT_SCALE);
	}
	if (task->output == INT8) {
		return true;
	}
	if (task->convert_offset) {
		return refuse(machine, core, NPU_NOT_IMPLEMENTED, NPU_DPU_OUT_CVT_OFFSET);
	}
	if (task->convert_scale != 1) {
		return refuse(machine, core, NPU_NOT_IMPLEMENTED, NPU_DPU_OUT_CVT_SCALE);
	}
	return !task->convert_shift || refuse(machine, core, NPU_NOT_IMPLEMENTED, NPU_DPU_OUT_CVT_SHIFT);
}

/* The features that the task before left are taken as they are, so they must have been of this shape. */
static bool may_reuse(struct machine *machine, struct npu_core *core, const struct npu_task *before, struct npu_task *task)
{
	task->reuse = npu_word(core, NPU_CNA_CBUF_CON0) & NPU_CNA_CBUF_CON0_DATA_REUSE_MASK;
	if (task->reuse &&
	    (!core->buffered || before->fp16 != task->fp16 || before->rows != task->rows ||
	     before->channels != task->channels || before->real_channels != task->real_channels)) {
		return refuse(machine, core, NPU_BAD_VALUE, NPU_CNA_CBUF_CON0);
	}
	return true;
}

bool npu_make_task(struct machine *machine, struct npu_core *core)
{
	struct npu_task task = {0};

	if (!obeys_rules(machine, core) || !read_precision(machine, core, &task) || !read_sizes(machine, core, &task) ||
	    !fits_buffer(machine, core, &task) || !read_places(machine, core, &task) ||
	    !read_conversion(machine, core, &task) || !may_reuse(machine, core, &core->task, &task)) {
		return false;
	}
	core->task = task;
	return true;
}
