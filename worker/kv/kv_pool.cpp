#include "worker/kv/kv_pool.h"

namespace tessera {

KvPool::KvPool(const KvShape& shape,
               std::int32_t num_pages,
               std::int32_t page_size,
               kernels::Backend& backend) {
  const std::int64_t num_bytes = std::int64_t{num_pages} * page_size * shape.num_kv_heads *
                                 shape.head_dim * size_of(shape.dtype);
  for (std::int32_t layer = 0; layer < shape.num_layers; ++layer) {
    void* k = buffers_.emplace_back(backend.allocate(num_bytes)).data();
    void* v = buffers_.emplace_back(backend.allocate(num_bytes)).data();
    layers_.push_back({k, v, num_pages, page_size, shape.num_kv_heads, shape.head_dim});
  }
}

}  // namespace tessera
