#include "tests/worker/support/backend_options.h"

namespace tessera {

void use_backend(const kernels::BackendCase& backend, ModelExecutorOptions& options) {
  options.backend = backend.backend;
  options.deterministic = backend.instruction_set == "deterministic";
  if (!options.deterministic) options.instruction_set = backend.instruction_set;
  options.device_collectives = DeviceCollectives::kHost;  // ranks of one process share a GPU
}

}  // namespace tessera
