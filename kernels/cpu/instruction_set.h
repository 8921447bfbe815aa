#pragma once

#include <string_view>

namespace tessera::kernels {

/// Instruction sets that the cpu back end has kernels for. They differ in bits.
enum class InstructionSet {
  kAvx2,    ///< "avx2": AVX2, FMA and F16C; bf16 widened to fp32
  kAvx512,  ///< "avx512": AVX-512 F, BW, DQ, VL and BF16 (vdpbf16ps)
};

/// The instruction set of that name, or for an empty name the best that this machine has.
/// @throws Error{kInvalidArgument} for an unknown name, or one that the machine lacks.
InstructionSet select_instruction_set(std::string_view name);

}  // namespace tessera::kernels
