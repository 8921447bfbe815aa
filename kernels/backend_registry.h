#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/ops.h"

namespace tessera::kernels {

struct BackendOptions {
  std::int32_t num_threads = 1;  ///< >= 1, the calling thread included.
  /// CPUs that the threads are pinned to, thread i to cpus[i % size]; empty: not pinned. The
  /// calling thread is thread 0.
  std::vector<std::int32_t> cpus;
  /// Instruction set to use, of those the back end has; empty: the best that this machine has.
  /// "reference" has none and ignores it, the threads and the CPUs.
  std::string instruction_set;
  /// "cuda": which of the machine's GPUs, counted round.
  std::int32_t device = 0;
  /// "cuda": a row's bits depend on its own inputs alone (ops.h), at a cost. The others always are.
  bool deterministic = false;
};

/// @throws Error{kInvalidArgument} for an unknown name or an instruction set that the machine
/// lacks.
std::unique_ptr<Backend> create_backend(std::string_view name, const BackendOptions& options);

}  // namespace tessera::kernels
