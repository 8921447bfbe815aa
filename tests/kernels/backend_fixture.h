#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/ops.h"
#include "tests/kernels/matrix.h"

namespace tessera::kernels {

/// A back end with the instruction set to run it on: what every case list runs against.
struct BackendCase {
  std::string_view backend;
  std::string_view instruction_set;  ///< Empty: none. Of cuda: "deterministic" or its default mode.

  std::unique_ptr<Backend> create(std::int32_t num_threads = 1) const;
};

/// The back ends that the executable has been linked for: *_backend_cases.cpp.
std::vector<BackendCase> backend_cases();

inline std::ostream& operator<<(std::ostream& out, const BackendCase& c) {
  return out << c.backend << " " << c.instruction_set;
}

/// "cpu_avx2"
inline std::string name_of(const BackendCase& c) {
  std::string name(c.backend);
  if (!c.instruction_set.empty()) name.append("_").append(c.instruction_set);
  return name;
}

/// The suffix of a test.
inline std::string case_name(const ::testing::TestParamInfo<BackendCase>& info) {
  return name_of(info.param);
}

/// Why this machine cannot run a case: no AVX-512, no GPU. Empty: it can.
std::string missing_for(const BackendCase& c);
inline bool can_run(const BackendCase& c) {
  return missing_for(c).empty();
}

/// Fixture of the case lists. Skips, visibly, only what the machine cannot run.
class BackendTest : public ::testing::TestWithParam<BackendCase> {
 protected:
  void SetUp() override {
    const std::string missing = missing_for(GetParam());
    if (!missing.empty()) GTEST_SKIP() << missing;
    backend_ = GetParam().create();
  }

  DType activation() const { return backend_->activation_dtype(); }
  DType cache() const { return backend_->cache_dtype(); }

  /// Distance that rounding to `dtype` may put between a result and its fp64 definition, as a
  /// part of its size: half a unit of the last place of bf16; nothing for fp32, whose rounding
  /// is in the caller's own tolerance.
  static double rounding(DType dtype) { return dtype == DType::kBFloat16 ? 0x1p-8 : 0.0; }

  std::unique_ptr<Backend> backend_;
};

/// Instantiates a case list for every back end and instruction set.
#define TESSERA_FOR_EVERY_BACKEND(Suite) \
  INSTANTIATE_TEST_SUITE_P(Backends, Suite, ::testing::ValuesIn(backend_cases()), &case_name)

}  // namespace tessera::kernels
