#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "kernels/ops.h"
#include "worker/comm/communicator.h"
#include "worker/comm/device_exchange.h"

namespace tessera {

/// Sums over ranks of numbers in the memory of a back end. Collective.
class TensorSum {
 public:
  virtual ~TensorSum() = default;

  /// As Communicator::all_reduce_tree; in the order of the back end's operations. Allocates
  /// nothing.
  /// @param values  At most as many as create_tensor_sum() was told.
  virtual void all_reduce_tree(std::span<float> values) = 0;

  /// Whether a sum does nothing but queue work behind the back end's operations, so that a graph of
  /// them can hold it.
  virtual bool is_capturable() const = 0;
};

/// Collective. Borrows all.
/// @param exchange   Between devices; null: memory of a device goes through the host's.
/// @param max_count  Of the values of a sum.
std::unique_ptr<TensorSum> create_tensor_sum(Communicator& communicator,
                                             DeviceExchange* exchange,
                                             kernels::Backend& backend,
                                             std::int64_t max_count);

}  // namespace tessera
