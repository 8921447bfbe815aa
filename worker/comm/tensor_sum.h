#pragma once

#include <memory>
#include <span>

#include "kernels/ops.h"
#include "worker/comm/communicator.h"

namespace tessera {

/// Sums over ranks of numbers in the memory of a back end. Collective.
class TensorSum {
 public:
  virtual ~TensorSum() = default;

  /// As Communicator::all_reduce_tree; in the order of the back end's operations.
  virtual void all_reduce_tree(std::span<float> values) = 0;
};

/// Borrows both. Memory of a device goes through the host's.
std::unique_ptr<TensorSum> create_tensor_sum(Communicator& communicator, kernels::Backend& backend);

}  // namespace tessera
