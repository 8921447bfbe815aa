#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "common/model_spec/sharding.h"
#include "kernels/float_vector.h"
#include "kernels/ops.h"
#include "worker/weights/tensor_source.h"

namespace tessera {

/// One rank's share of a layer. nq, nkv: heads of this rank; D: head_dim; I: this rank's share of
/// the intermediate dimension, padding included.
struct LayerWeights {
  kernels::FloatVector input_norm;                 ///< [hidden]
  std::unique_ptr<kernels::PackedMatrix> qkv;      ///< [(nq + 2 nkv) D, hidden]
  kernels::FloatVector qkv_bias;                   ///< [(nq + 2 nkv) D] or empty
  kernels::FloatVector q_norm;                     ///< [D] or empty
  kernels::FloatVector k_norm;                     ///< [D] or empty
  std::unique_ptr<kernels::PackedMatrix> o;        ///< [hidden, nq D, padded]
  kernels::FloatVector post_norm;                  ///< [hidden]
  std::unique_ptr<kernels::PackedMatrix> gate_up;  ///< [2 I, hidden]; null with experts
  std::unique_ptr<kernels::PackedMatrix> down;     ///< [hidden, I]; null with experts
  std::unique_ptr<kernels::PackedMatrix> router;   ///< [experts, hidden], on every rank; or null
  kernels::FloatVector router_bias;                ///< [experts] or empty
  kernels::ExpertWeights experts;
};

/// One rank's share of a model, packed by its back end.
struct ModelWeights {
  kernels::Buffer embedding_memory;  ///< Empty when tied.
  ConstMatrixView embedding;         ///< [vocab_shard, hidden], activation dtype; empty when tied:
                                     ///< then rows are gathered from lm_head.
  std::vector<LayerWeights> layers;
  kernels::FloatVector final_norm;                 ///< [hidden]
  std::unique_ptr<kernels::PackedMatrix> lm_head;  ///< [vocab_shard, hidden]
};

/// (bytes done, bytes in all), of the matrices this rank holds.
using LoadProgress = std::function<void(std::int64_t, std::int64_t)>;

/// Reads this rank's slices from `source`, a few MiB at a time, and packs them.
/// @param source       Holds declare_tensors(spec).
/// @param on_progress  May be empty; called at most about 100 times.
/// @throws Error{kInvalidArgument} from the source; Error{kDevice} if memory is short.
ModelWeights load_weights(const ModelSpec& spec,
                          const RankShard& shard,
                          TensorSource& source,
                          kernels::Backend& backend,
                          const LoadProgress& on_progress);

}  // namespace tessera
