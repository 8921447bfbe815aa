#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/model_spec/model_spec.h"
#include "worker/weights/safetensors_source.h"
#include "worker/weights/tensor_source.h"

namespace tessera {

/// Rows of a module's weight (and bias) that begin with `first_row`: projections that a checkpoint
/// keeps in one tensor share its name. A module X has the tensor X.weight and, where the spec says
/// so, X.bias.
struct ModuleRows {
  std::string module;
  std::int64_t first_row = 0;
};

/// Rows of a tensor, by its whole name, that begin with `first_row`.
struct TensorRows {
  std::string tensor;
  std::int64_t first_row = 0;
};

/// Where the matrices of a gated MLP are.
struct MlpNames {
  TensorRows gate;
  TensorRows up;
  TensorRows down;
};

/// Checkpoint names of one layer: modules, or whole names of tensors where it says so. Empty:
/// layers of this family have none.
struct LayerNames {
  std::string input_norm;
  ModuleRows q;
  ModuleRows k;
  ModuleRows v;  ///< Empty where keys are the values, too.
  std::string q_norm;
  std::string k_norm;
  std::string o;
  std::string attention_out_norm;
  std::string mlp_norm;
  MlpNames mlp;  ///< Of a layer without experts, or beside them.
  std::string mlp_out_norm;
  std::string router;          ///< Of a layer with experts: [experts, hidden];
  std::string router_bias;     ///< the whole name of [experts],
  std::string router_scale;    ///< of [hidden],
  std::string expert_scale;    ///< and of [experts].
  std::string experts;         ///< Prefix of the routed experts; see expert_names.
  MlpNames shared;             ///< Of the shared experts.
  std::string dense_out_norm;  ///< These of a layer with an MLP beside its experts.
  std::string experts_norm;
  std::string experts_out_norm;
  std::string encoder_scalar;  ///< Whole names of [1].
  std::string canvas_scalar;
};

/// Checkpoint names outside the layers, of modules.
struct ModelNames {
  std::string embedding;
  std::string final_norm;
  std::string lm_head;
  std::string conditioning_norm;  ///< Of models with a canvas.
  MlpNames conditioning;
};

LayerNames layer_names(const ModelSpec& spec, std::int32_t layer);

/// Names of routed expert `expert` of a layer.
MlpNames expert_names(const ModelSpec& spec, const LayerNames& names, std::int32_t expert);

ModelNames model_names(TensorLayout layout);

/// Every tensor that a checkpoint of this model has, tied ones once.
std::vector<TensorDeclaration> declare_tensors(const ModelSpec& spec);

/// What its checkpoints may hold beside them.
ExtraTensors extra_tensors(const ModelSpec& spec);

}  // namespace tessera
