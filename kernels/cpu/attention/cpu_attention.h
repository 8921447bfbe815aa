#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/ops.h"

namespace tessera::kernels {

// Block attention and the QKV epilogue on the CPU, for the two instruction sets of the cpu back
// end. Activation and cache dtype are bf16, arithmetic is fp32.
//
// The work of one call is cut into `num_parts` shares of about equal cost; parts [0, num_parts) may
// run at the same time on different threads, write disjoint outputs and allocate nothing. The bits
// of a row depend on its own q and the K/V it sees, not on num_parts, on other rows or spans, on
// page size or ids, or on which of its keys come from pages: keys are visited in tiles of 64
// aligned to absolute positions, in which a key that a row does not see adds exactly nothing.
//
// Arguments must have passed op_checks.h. head_dim is even and at most 512.
//
// Accuracy against exact arithmetic on the same bf16 inputs: avx2 rounds once, to bf16 at the end;
// avx512 also rounds each softmax weight to bf16 (numerator and denominator alike), which moves an
// output by at most 2^-8 of the weighted mean distance of its values from it.

/// Bytes of scratch that each part needs for one call (64-byte aligned). Fits every batch and both
/// instruction sets.
std::int64_t attention_scratch_bytes(std::int32_t num_q_heads,
                                     std::int32_t num_kv_heads,
                                     std::int32_t head_dim);

/// Computes share `part` of Backend::block_attention.
/// @param scratch  this part's own, attention_scratch_bytes() at least; contents do not matter
void block_attention_avx512(const AttentionArgs& args,
                            std::int32_t part,
                            std::int32_t num_parts,
                            std::span<std::byte> scratch);
void block_attention_avx2(const AttentionArgs& args,
                          std::int32_t part,
                          std::int32_t num_parts,
                          std::span<std::byte> scratch);

/// Computes share `part` of Backend::qk_norm_rope_store: a range of rows.
void qk_norm_rope_store_avx512(const QkvArgs& args, std::int32_t part, std::int32_t num_parts);
void qk_norm_rope_store_avx2(const QkvArgs& args, std::int32_t part, std::int32_t num_parts);

}  // namespace tessera::kernels
