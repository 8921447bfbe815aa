#include "worker/kv/kv_pool.h"

namespace tessera {

KvPool::KvPool(const KvShape& shape,
               std::int32_t num_pages,
               std::int32_t page_size,
               kernels::Backend& backend) {
  for (const LayerKvShape& layer : shape.layers) {
    const std::int64_t num_bytes =
        std::int64_t{num_pages} * page_size * layer.size() * size_of(shape.dtype);
    void* k = buffers_.emplace_back(backend.allocate(num_bytes)).data();
    void* v = buffers_.emplace_back(backend.allocate(num_bytes)).data();
    layers_.push_back({k, v, num_pages, page_size, layer.num_kv_heads, layer.head_dim});
  }
}

}  // namespace tessera
