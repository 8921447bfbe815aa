#pragma once

#include <memory>
#include <string>

#include "common/model_spec/sharding.h"
#include "kernels/ops.h"
#include "worker/model/model_weights.h"
#include "worker/runtime/model_executor.h"

namespace tessera {

/// One rank's share of a model, ready to run.
struct LoadedModel {
  ModelSpec spec;
  RankShard shard;
  std::unique_ptr<kernels::Backend> backend;
  ModelWeights weights;
  std::string digest;  ///< Of config.json and the tensor inventory.
};

/// Reads this rank's share. Not collective.
/// @throws Error as create_model_executor() says.
std::unique_ptr<LoadedModel> load_model(const ModelExecutorOptions& options,
                                        std::int32_t rank,
                                        std::int32_t tp);

}  // namespace tessera
