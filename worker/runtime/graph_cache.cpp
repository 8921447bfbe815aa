#include "worker/runtime/graph_cache.h"

#include "common/base/error.h"

namespace tessera {

void GraphCache::capture(const GraphKey& key, const std::function<void()>& work) {
  graphs_[key] = backend_.capture(work);
}

void GraphCache::launch(const GraphKey& key) {
  const auto found = graphs_.find(key);
  TESSERA_CHECK(found != graphs_.end(), "no graph of ", key.shape.rows, " rows of which ",
                key.shape.measured, " are measured");
  found->second->launch();
}

}  // namespace tessera
