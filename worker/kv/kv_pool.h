#pragma once

#include <cstdint>
#include <vector>

#include "kernels/ops.h"

namespace tessera {

/// What the pages of one layer hold on one rank.
struct LayerKvShape {
  std::int32_t num_kv_heads = 0;  ///< This rank's.
  std::int32_t head_dim = 0;

  std::int64_t size() const { return std::int64_t{num_kv_heads} * head_dim; }
};

/// What the pages of one rank hold.
struct KvShape {
  std::vector<LayerKvShape> layers;
  DType dtype = DType::kFloat32;  ///< Cache dtype of the back end.

  /// K and V of one token, all layers.
  std::int64_t bytes_per_token() const {
    std::int64_t size = 0;
    for (const LayerKvShape& layer : layers) size += layer.size();
    return 2 * size * size_of(dtype);
  }
};

/// A rank's K/V pages of all layers, K and V separate: [num_pages, page_size, num_kv_heads,
/// head_dim] each, with the layer's own heads. Page i is the same page in every layer and on every
/// rank. Host memory is taken only as pages are first written.
class KvPool {
 public:
  /// @throws Error{kDevice} if the machine has no such memory.
  KvPool(const KvShape& shape,
         std::int32_t num_pages,
         std::int32_t page_size,
         kernels::Backend& backend);

  const kernels::KvPages& layer(std::int32_t index) const {
    return layers_[static_cast<std::size_t>(index)];
  }

 private:
  std::vector<kernels::Buffer> buffers_;
  std::vector<kernels::KvPages> layers_;
};

}  // namespace tessera
