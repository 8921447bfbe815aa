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
  std::vector<BackendCase> cases;
  for (const std::string_view name : backend_names()) {
    if (name == "cpu") {
      cases.push_back({name, "avx512"});
      cases.push_back({name, "avx2"});
    } else {
      cases.push_back({name, ""});
    }
  }
  return cases;
}

}  // namespace tessera::kernels
