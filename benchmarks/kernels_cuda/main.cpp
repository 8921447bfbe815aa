#include <algorithm>
#include <cstdio>
#include <string_view>
#include <vector>

#include "benchmarks/kernels_cuda/reporter.h"
#include "common/base/error.h"
#include "kernels/cuda/cuda_backend.h"

namespace {

constexpr const char* kHelp =
    "Times every CUDA kernel, or those of some groups, against its floor, on the first GPU.\n"
    "  cuda_kernel_benchmark [--deterministic] [gemm] [rows] [attention] [measure] [moe]\n";

struct Group {
  std::string_view name;
  void (*run)(tessera::benchmarks::Reporter&);
};
constexpr Group kGroups[] = {{"gemm", &tessera::benchmarks::gemm_cases},
                             {"rows", &tessera::benchmarks::row_cases},
                             {"attention", &tessera::benchmarks::attention_cases},
                             {"measure", &tessera::benchmarks::measure_cases},
                             {"moe", &tessera::benchmarks::moe_cases}};

int run(int argc, char** argv) {
  bool deterministic = false;
  std::vector<Group> chosen;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    const auto* group = std::find_if(std::begin(kGroups), std::end(kGroups),
                                     [&](const Group& g) { return g.name == argument; });
    if (argument == "--deterministic") {
      deterministic = true;
    } else if (group != std::end(kGroups)) {
      chosen.push_back(*group);
    } else {
      std::fputs(kHelp, stdout);
      return argument == "--help" ? 0 : 64;
    }
  }
  const auto backend =
      tessera::kernels::cuda::create_cuda_backend({.deterministic = deterministic});
  const auto fastest = tessera::kernels::cuda::create_cuda_backend({});
  tessera::benchmarks::Reporter reporter(*backend, deterministic, *fastest);
  if (chosen.empty()) chosen.assign(std::begin(kGroups), std::end(kGroups));
  for (const Group& group : chosen) group.run(reporter);
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
