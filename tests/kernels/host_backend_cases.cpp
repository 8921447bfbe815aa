#include "kernels/backend_registry.h"
#include "tests/kernels/backend_fixture.h"

namespace tessera::kernels {

std::unique_ptr<Backend> BackendCase::create(std::int32_t num_threads) const {
  BackendOptions options;
  options.num_threads = num_threads;
  options.instruction_set = std::string(instruction_set);
  return create_backend(backend, options);
}

std::vector<BackendCase> backend_cases() {
  return {{"reference", ""}, {"cpu", "avx512"}, {"cpu", "avx2"}};
}

std::string missing_for(const BackendCase& c) {
  const bool runs = c.instruction_set != "avx512" || __builtin_cpu_supports("avx512bf16") != 0;
  return runs ? "" : "this machine has no AVX-512 BF16";
}

}  // namespace tessera::kernels
