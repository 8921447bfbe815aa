// A folder of its own: back ends include kernels/, so kernels/ cannot include them.
#include "kernels/backend_registry.h"

#include "common/base/error.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/reference/reference_backend.h"
#include "kernels/registry/cuda_module.h"

namespace tessera::kernels {
namespace {

struct BackendEntry {
  std::string_view name;
  std::unique_ptr<Backend> (*create)(const BackendOptions&);
};

// To add a back end: a folder beside this one, and one line here.
constexpr BackendEntry kBackends[] = {
    {"reference", &create_reference_backend},
    {"cpu", &create_cpu_backend},
    {"cuda", &load_cuda_backend},
};

}  // namespace

std::unique_ptr<Backend> create_backend(std::string_view name, const BackendOptions& options) {
  TESSERA_REQUIRE(options.num_threads >= 1, "num_threads ", options.num_threads, ": at least 1");
  std::string known;
  for (const BackendEntry& entry : kBackends) {
    if (entry.name == name) return entry.create(options);
    known.append(" ").append(entry.name);
  }
  TESSERA_REQUIRE(false, "unknown back end '", name, "'; known back ends:", known);
  return nullptr;
}

}  // namespace tessera::kernels
