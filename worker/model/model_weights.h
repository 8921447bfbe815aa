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

/// One rank's share of a gated MLP. I: its share of the intermediate dimension, padding included.
struct MlpWeights {
  std::unique_ptr<kernels::PackedMatrix> gate_up;  ///< [2 I, hidden]; null: there is none
  std::unique_ptr<kernels::PackedMatrix> down;     ///< [hidden, I]
};

/// One rank's share of a layer. nq, nkv: heads of this rank; D: the layer's head_dim.
struct LayerWeights {
  kernels::FloatVector input_norm;                ///< [hidden]
  std::unique_ptr<kernels::PackedMatrix> qkv;     ///< [(nq + 2 nkv) D, hidden]; one nkv where
                                                  ///< keys are the values, too
  kernels::FloatVector qkv_bias;                  ///< [rows of qkv] or empty
  kernels::FloatVector q_norm;                    ///< [D] or empty
  kernels::FloatVector k_norm;                    ///< [D] or empty
  std::unique_ptr<kernels::PackedMatrix> o;       ///< [hidden, nq D, padded]
  kernels::FloatVector attention_out_norm;        ///< [hidden] or empty
  kernels::FloatVector mlp_norm;                  ///< [hidden]
  MlpWeights mlp;                                 ///< None with experts, or beside them.
  kernels::FloatVector mlp_out_norm;              ///< [hidden] or empty
  std::unique_ptr<kernels::PackedMatrix> router;  ///< [experts, hidden], on every rank; or null
  kernels::FloatVector router_bias;               ///< [experts] or empty
  kernels::FloatVector router_norm;               ///< [hidden] or empty: of the router's own norm
  kernels::FloatVector expert_scale;              ///< [experts] or empty
  kernels::ExpertWeights experts;
  kernels::FloatVector dense_out_norm;  ///< These, [hidden], of an MLP beside experts.
  kernels::FloatVector experts_norm;
  kernels::FloatVector experts_out_norm;
  float encoder_scalar = 1.0F;  ///< What rows are multiplied by after the layer.
  float canvas_scalar = 1.0F;   ///< The same of rows of a canvas.
};

/// One rank's share of a model, packed by its back end.
struct ModelWeights {
  kernels::Buffer embedding_memory;  ///< Empty when tied.
  ConstMatrixView embedding;         ///< [vocab_shard, hidden], activation dtype; empty when tied:
                                     ///< then rows are gathered from lm_head.
  std::vector<LayerWeights> layers;
  kernels::FloatVector final_norm;                 ///< [hidden]
  std::unique_ptr<kernels::PackedMatrix> lm_head;  ///< [vocab_shard, hidden]
  kernels::FloatVector conditioning_norm;          ///< [hidden]; these of models with a canvas
  MlpWeights conditioning;
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
