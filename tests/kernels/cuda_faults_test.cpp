#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

#include "common/base/error.h"
#include "kernels/cuda/cuda_backend.h"
#include "tests/kernels/cuda_cases.h"

namespace tessera::kernels {
namespace {

class CudaFaultsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string missing = missing_gpu();
    if (!missing.empty()) GTEST_SKIP() << missing;
  }
};

TEST_F(CudaFaultsTest, MemoryThatIsShortNamesWhatToLower) {
  const auto backend = cuda::create_cuda_backend({});
  const std::int64_t too_much = backend->memory_for_pages() * 2;
  try {
    backend->allocate(too_much);
    ADD_FAILURE() << too_much << " bytes were given";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kDevice);
    EXPECT_THAT(error.what(), ::testing::HasSubstr("lower kv_memory"));
  }
  EXPECT_GT(backend->allocate(1 << 20).num_bytes(), 0) << "the next one is served";
}

// What a GPU that faults or is lost looks like to the process: every call fails from then on.
void fault() {
  const auto backend = cuda::create_cuda_backend({});
  void* nowhere = reinterpret_cast<void*>(std::uintptr_t{1} << 20);
  const Buffer memory = backend->allocate(1 << 10);
  float host = 0.0F;
  const auto run = [&](void* data) {
    backend->scale({data, DType::kFloat32, 1, 4, 4}, 2.0F);
    backend->download(memory.data(), &host, sizeof host);
  };
  for (void* data : {nowhere, memory.data()}) {
    try {
      run(data);
      std::exit(0);
    } catch (const Error& error) {
      std::fprintf(stderr, "%s\n", error.what());
      if (error.code() != ErrorCode::kDevice) std::exit(1);
    }
  }
  std::_Exit(66);
}

TEST_F(CudaFaultsTest, AFaultIsANamedErrorOfEveryLaterCall) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(fault(), ::testing::ExitedWithCode(66), "illegal");
}

}  // namespace
}  // namespace tessera::kernels
