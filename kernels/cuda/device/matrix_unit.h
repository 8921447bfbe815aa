#pragma once

#include <cstdint>

#include "kernels/cuda/device/bfloat16.h"
#include "kernels/cuda/device/shared_memory.h"

#ifdef TESSERA_CUDA_EMULATION
#include "kernels/cuda/emulation/matrix_unit.h"
#endif

namespace tessera::kernels::cuda {

// Fragments of a warp, PTX ISA "Matrix Fragments for mma.m16n8k16". With g = lane / 4, t = lane % 4
// and every register holding two neighbours:
//
//   A [16, 16]: a[0] (g, 2t)  a[1] (g + 8, 2t)  a[2] (g, 2t + 8)  a[3] (g + 8, 2t + 8)
//   B [16, 8]:  b[0] (2t, g)  b[1] (2t + 8, g)      neighbours along K
//   C [16, 8]:  c[0] (g, 2t)  c[1] (g, 2t + 1)  c[2] (g + 8, 2t)  c[3] (g + 8, 2t + 1)

/// c += a b, bf16 x bf16 -> fp32, by a whole warp.
__device__ inline void multiply_16x8x16(float (&c)[4],
                                        const std::uint32_t (&a)[4],
                                        const std::uint32_t (&b)[2]) {
#ifdef TESSERA_CUDA_EMULATION
  emulation::multiply_16x8x16(c, a, b);
#else
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

/// Loads four 8 x 8 tiles of bf16: lane l gives the address of row l % 8 of tile l / 8 (16 bytes,
/// aligned); r[i] of a lane is (lane / 4, 2 (lane % 4)) and its right neighbour of tile i.
__device__ inline void load_tiles(std::uint32_t (&r)[4], SharedSpan<Bf16> row) {
#ifdef TESSERA_CUDA_EMULATION
  emulation::load_tiles(r, row.address(), /*transposed=*/false);
#else
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(row.address()));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
#endif
}

/// The same with every tile transposed: r[i] is (2 (lane % 4), lane / 4) and the one below it.
__device__ inline void load_tiles_transposed(std::uint32_t (&r)[4], SharedSpan<Bf16> row) {
#ifdef TESSERA_CUDA_EMULATION
  emulation::load_tiles(r, row.address(), /*transposed=*/true);
#else
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(row.address()));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
#endif
}

}  // namespace tessera::kernels::cuda
