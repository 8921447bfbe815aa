#include "kernels/backend_registry.h"

#include <gtest/gtest.h>

#include "tests/support/error_matchers.h"

namespace tessera::kernels {
namespace {

TEST(BackendRegistryTest, UnknownNamesAreErrors) {
  EXPECT_ERROR(create_backend("abacus", {}), kInvalidArgument);
  BackendOptions options;
  options.instruction_set = "mmx";
  EXPECT_ERROR(create_backend("cpu", options), kInvalidArgument);
}

TEST(BackendRegistryTest, TheNameOfADeviceTellsItsInstructionSet) {
  BackendOptions options;
  options.instruction_set = "avx2";
  EXPECT_EQ(create_backend("cpu", options)->device_name(), "cpu avx2");
  const bool has_avx512 = __builtin_cpu_supports("avx512bf16") != 0;
  EXPECT_EQ(create_backend("cpu", {})->device_name(), has_avx512 ? "cpu avx512_bf16" : "cpu avx2");
}

}  // namespace
}  // namespace tessera::kernels
