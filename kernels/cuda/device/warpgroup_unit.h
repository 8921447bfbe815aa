#pragma once

#include <cstdint>

#include "kernels/cuda/device/bfloat16.h"
#include "kernels/cuda/device/shared_memory.h"

#ifdef TESSERA_CUDA_EMULATION
#include "kernels/cuda/emulation/warpgroup_unit.h"
#endif

/// Tensor cores as four warps use them together, with operands in shared memory: wgmma, of sm_90a
/// alone. Kernels that use it have a body only where this is defined.
#if defined(TESSERA_CUDA_EMULATION) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define TESSERA_HAS_WARPGROUP_UNIT
#endif

namespace tessera::kernels::cuda {

inline constexpr int kWarpgroupSize = 128;

// Operands lie in panels: rows of 64 bf16 numbers (128 bytes), the eight pieces of 16 bytes of row
// r at places piece ^ (r % 8). Panels begin on 1024 bytes. Fragments of a warp are those of
// matrix_unit.h: c[i] of warp w of the group is rows [16 w, 16 w + 16), columns [8 i, 8 i + 8).

/// What this thread has written to shared memory, async copies that it has waited for included,
/// becomes visible to products that begin behind the next barrier; and what others have written
/// that this thread has waited for, to its own.
__device__ inline void publish_to_products() {
#if !defined(TESSERA_CUDA_EMULATION) && defined(TESSERA_HAS_WARPGROUP_UNIT)
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

#ifndef TESSERA_CUDA_EMULATION
// Keeps the compiler from moving what touches these registers over this place: to it, a product is
// done when it is begun.
template <int kFragments>
__device__ void pin(float (&registers)[kFragments][4]) {
#pragma unroll
  for (auto& fragment : registers) {
#pragma unroll
    for (float& value : fragment) asm volatile("" : "+f"(value)::"memory");
  }
}
template <int kFragments>
__device__ void pin(std::uint32_t (&registers)[kFragments][4]) {
#pragma unroll
  for (auto& fragment : registers) {
#pragma unroll
    for (std::uint32_t& value : fragment) asm volatile("" : "+r"(value)::"memory");
  }
}
#endif

/// Before the first product since `registers`, all that products use, were written.
template <typename... Registers>
__device__ void begin_products([[maybe_unused]] Registers&... registers) {
#if !defined(TESSERA_CUDA_EMULATION) && defined(TESSERA_HAS_WARPGROUP_UNIT)
  (pin(registers), ...);
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}

/// Behind the last product of a group: they run on.
__device__ inline void commit_products() {
#ifdef TESSERA_CUDA_EMULATION
  emulation::commit_products();
#elif defined(TESSERA_HAS_WARPGROUP_UNIT)
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#endif
}

/// Waits until at most kPending groups are under way. `registers`, sums and left sides of those
/// that are done, may be read and written, and what they read of shared memory written.
template <int kPending = 0, typename... Registers>
__device__ void finish_products([[maybe_unused]] Registers&... registers) {
#ifdef TESSERA_CUDA_EMULATION
  emulation::finish_products(kPending);
#elif defined(TESSERA_HAS_WARPGROUP_UNIT)
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
  (pin(registers), ...);
#endif
}

/// Gives registers of a CTA's pool to this warpgroup, or back: kRegisters for each thread, a
/// multiple of 8. All warpgroups of the kernel call one of them, at the beginning of their part.
template <int kRegisters>
__device__ void take_registers() {
#if !defined(TESSERA_CUDA_EMULATION) && defined(TESSERA_HAS_WARPGROUP_UNIT)
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
#endif
}
template <int kRegisters>
__device__ void give_registers() {
#if !defined(TESSERA_CUDA_EMULATION) && defined(TESSERA_HAS_WARPGROUP_UNIT)
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
#endif
}

#if !defined(TESSERA_CUDA_EMULATION) && defined(TESSERA_HAS_WARPGROUP_UNIT)
// PTX ISA, "Matrix Descriptor Format" of wgmma: 128-byte swizzle; groups of eight rows lie 1024
// bytes apart, panels `panel_bytes` where columns are the contiguous side.
__device__ inline std::uint64_t descriptor_of(SharedSpan<Bf16> from, int panel_bytes) {
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(from.address()));
  return (std::uint64_t{address & 0x3FFFFU} >> 4) |
         (static_cast<std::uint64_t>(panel_bytes >> 4) << 16) | (std::uint64_t{1024 >> 4} << 32) |
         (std::uint64_t{1} << 62);
}

// clang-format off
#define TESSERA_SUMS(i) "+f"(c[i][0]), "+f"(c[i][1]), "+f"(c[i][2]), "+f"(c[i][3])

__device__ inline void multiply_rows_64(float (&c)[8][4], std::uint64_t a, std::uint64_t b, bool adds) {
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      "setp.ne.b32 p, %34, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {"
      "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"
      "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31}, "
      "%32, %33, p, 1, 1, 0, 0;\n"
      "}"
      : TESSERA_SUMS(0), TESSERA_SUMS(1), TESSERA_SUMS(2), TESSERA_SUMS(3), TESSERA_SUMS(4), TESSERA_SUMS(5), TESSERA_SUMS(6), TESSERA_SUMS(7)
      : "l"(a), "l"(b), "r"(adds ? 1 : 0));
}
__device__ inline void multiply_rows_128(float (&c)[16][4], std::uint64_t a, std::uint64_t b, bool adds) {
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      "setp.ne.b32 p, %66, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
      "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"
      "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,"
      "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,"
      "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63}, "
      "%64, %65, p, 1, 1, 0, 0;\n"
      "}"
      : TESSERA_SUMS(0), TESSERA_SUMS(1), TESSERA_SUMS(2), TESSERA_SUMS(3), TESSERA_SUMS(4), TESSERA_SUMS(5), TESSERA_SUMS(6), TESSERA_SUMS(7), TESSERA_SUMS(8), TESSERA_SUMS(9), TESSERA_SUMS(10), TESSERA_SUMS(11), TESSERA_SUMS(12), TESSERA_SUMS(13), TESSERA_SUMS(14), TESSERA_SUMS(15)
      : "l"(a), "l"(b), "r"(adds ? 1 : 0));
}
__device__ inline void multiply_cols_64(float (&c)[8][4], const std::uint32_t (&a)[4], std::uint64_t b) {
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      "setp.ne.b32 p, %37, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {"
      "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"
      "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31}, "
      "{%32,%33,%34,%35}, %36, p, 1, 1, 1;\n"
      "}"
      : TESSERA_SUMS(0), TESSERA_SUMS(1), TESSERA_SUMS(2), TESSERA_SUMS(3), TESSERA_SUMS(4), TESSERA_SUMS(5), TESSERA_SUMS(6), TESSERA_SUMS(7)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(1));
}
__device__ inline void multiply_cols_128(float (&c)[16][4], const std::uint32_t (&a)[4], std::uint64_t b) {
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      "setp.ne.b32 p, %69, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
      "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"
      "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,"
      "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,"
      "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63}, "
      "{%64,%65,%66,%67}, %68, p, 1, 1, 1;\n"
      "}"
      : TESSERA_SUMS(0), TESSERA_SUMS(1), TESSERA_SUMS(2), TESSERA_SUMS(3), TESSERA_SUMS(4), TESSERA_SUMS(5), TESSERA_SUMS(6), TESSERA_SUMS(7), TESSERA_SUMS(8), TESSERA_SUMS(9), TESSERA_SUMS(10), TESSERA_SUMS(11), TESSERA_SUMS(12), TESSERA_SUMS(13), TESSERA_SUMS(14), TESSERA_SUMS(15)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(1));
}

#undef TESSERA_SUMS
// clang-format on
#endif

/// c = a b^T, or c += a b^T if `adds`: 64 rows of a, kCols (64 or 128) rows of b, 16 columns of
/// both from where they point on: columns [16 i, 16 i + 16) of a panel are 16 i elements behind its
/// beginning. Begun, not done: c is unusable until finish_products(). By whole warpgroups.
template <int kCols>
__device__ void multiply_rows(float (&c)[kCols / 8][4],
                              SharedSpan<Bf16> a,
                              SharedSpan<Bf16> b,
                              bool adds) {
#ifdef TESSERA_CUDA_EMULATION
  emulation::multiply_rows(&c[0][0], kCols, a.address(), b.address(), adds);
#elif defined(TESSERA_HAS_WARPGROUP_UNIT)
  if constexpr (kCols == 64) {
    multiply_rows_64(c, descriptor_of(a, 16), descriptor_of(b, 16), adds);
  } else {
    static_assert(kCols == 128);
    multiply_rows_128(c, descriptor_of(a, 16), descriptor_of(b, 16), adds);
  }
#endif
}

/// c += a b: a [64, 16] in registers, 16 rows of each warp as mma.m16n8k16 has them; b 16 rows of
/// kCols (64 or 128) columns, in panels of `panel_rows` rows. Otherwise as above.
template <int kCols>
__device__ void multiply_cols(float (&c)[kCols / 8][4],
                              const std::uint32_t (&a)[4],
                              SharedSpan<Bf16> b,
                              int panel_rows) {
#ifdef TESSERA_CUDA_EMULATION
  emulation::multiply_cols(&c[0][0], kCols, a, b.address(), panel_rows);
#elif defined(TESSERA_HAS_WARPGROUP_UNIT)
  if constexpr (kCols == 64) {
    multiply_cols_64(c, a, descriptor_of(b, panel_rows * 128));
  } else {
    static_assert(kCols == 128);
    multiply_cols_128(c, a, descriptor_of(b, panel_rows * 128));
  }
#endif
}

}  // namespace tessera::kernels::cuda
