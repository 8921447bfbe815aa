#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/model_spec/model_spec.h"
#include "worker/weights/tensor_source.h"

namespace tessera {

/// Rows of a module's weight (and bias) that begin with `first_row`: projections that a checkpoint
/// keeps in one tensor share its name.
struct ModuleRows {
  std::string module;
  std::int64_t first_row = 0;
};

/// Names of a gated MLP.
struct MlpNames {
  std::string gate;
  std::string up;
  std::string down;
};

/// Checkpoint names of one layer's modules. A module X has the tensor X.weight and, where the spec
/// says so, X.bias.
struct LayerNames {
  std::string input_norm;
  ModuleRows q;
  ModuleRows k;
  ModuleRows v;
  std::string q_norm;
  std::string k_norm;
  std::string o;
  std::string post_norm;
  MlpNames mlp;             ///< Of a layer without experts.
  std::string router;       ///< Of a layer with experts: [experts, hidden];
  std::string router_bias;  ///< the whole name of [experts], empty if there is none.
  std::string experts;      ///< Prefix of the routed experts; see expert_names.
  MlpNames shared;          ///< Of the shared experts.
};

/// Checkpoint names of the modules outside the layers.
struct ModelNames {
  std::string embedding;
  std::string final_norm;
  std::string lm_head;
};

LayerNames layer_names(const ModelSpec& spec, std::int32_t layer);

/// Names of routed expert `expert` of a layer.
MlpNames expert_names(const LayerNames& names, std::int32_t expert);

ModelNames model_names(TensorLayout layout);

/// Every tensor that a checkpoint of this model has, tied ones once.
std::vector<TensorDeclaration> declare_tensors(const ModelSpec& spec);

}  // namespace tessera
