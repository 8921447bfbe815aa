#include "kernels/cpu/instruction_set.h"

#include "common/base/error.h"

namespace tessera::kernels {
namespace {

// Also false when the operating system does not keep the registers.
bool has_avx2() {
  return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0 &&
         __builtin_cpu_supports("f16c") != 0;
}

bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") != 0 &&
         __builtin_cpu_supports("avx512bw") != 0 && __builtin_cpu_supports("avx512dq") != 0 &&
         __builtin_cpu_supports("avx512vl") != 0 && __builtin_cpu_supports("avx512bf16") != 0;
}

}  // namespace

InstructionSet select_instruction_set(std::string_view name) {
  TESSERA_REQUIRE(name.empty() || name == "avx512" || name == "avx2", "instruction_set '", name,
                  "' is unknown to the cpu back end: avx512 or avx2");
  TESSERA_REQUIRE(name != "avx512" || has_avx512(),
                  "instruction_set 'avx512': this machine lacks AVX-512 F, BW, DQ, VL or BF16");
  TESSERA_REQUIRE(has_avx2(),
                  "the cpu back end needs AVX2, FMA and F16C, which this machine lacks");
  const bool avx512 = name == "avx512" || (name.empty() && has_avx512());
  return avx512 ? InstructionSet::kAvx512 : InstructionSet::kAvx2;
}

}  // namespace tessera::kernels
