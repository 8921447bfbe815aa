#pragma once

#include "tests/kernels/backend_fixture.h"
#include "worker/runtime/model_executor.h"

namespace tessera {

/// Chooses the back end of a case, its mode included.
void use_backend(const kernels::BackendCase& backend, ModelExecutorOptions& options);

}  // namespace tessera
