#include <cstdio>
#include <string_view>

#include "benchmarks/kernels_cuda/reporter.h"
#include "common/base/error.h"
#include "kernels/cuda/cuda_backend.h"

namespace {

constexpr const char* kHelp =
    "Times every CUDA kernel against its floor, on the first GPU.\n"
    "  cuda_kernel_benchmark [--deterministic]\n";

int run(int argc, char** argv) {
  bool deterministic = false;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--deterministic") {
      deterministic = true;
    } else {
      std::fputs(kHelp, stdout);
      return argument == "--help" ? 0 : 64;
    }
  }
  const auto backend =
      tessera::kernels::cuda::create_cuda_backend({.deterministic = deterministic});
  const auto fastest = tessera::kernels::cuda::create_cuda_backend({});
  tessera::benchmarks::Reporter reporter(*backend, *fastest);
  tessera::benchmarks::gemm_cases(reporter);
  tessera::benchmarks::row_cases(reporter);
  tessera::benchmarks::attention_cases(reporter);
  tessera::benchmarks::measure_cases(reporter);
  tessera::benchmarks::moe_cases(reporter);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const tessera::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
