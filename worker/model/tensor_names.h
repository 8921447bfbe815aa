#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/model_spec/model_spec.h"
#include "worker/weights/tensor_source.h"

namespace tessera {

/// Checkpoint names of one layer's modules. A module X has the tensor X.weight and, where the spec
/// says so, X.bias.
struct LayerNames {
  std::string input_norm;
  std::string q;
  std::string k;
  std::string v;
  std::string q_norm;
  std::string k_norm;
  std::string o;
  std::string post_norm;
  std::string gate;
  std::string up;
  std::string down;
};

/// Checkpoint names of the modules outside the layers.
struct ModelNames {
  std::string embedding;
  std::string final_norm;
  std::string lm_head;
};

LayerNames layer_names(TensorLayout layout, std::int32_t layer);
ModelNames model_names(TensorLayout layout);

/// Every tensor that a checkpoint of this model has, tied ones once.
std::vector<TensorDeclaration> declare_tensors(const ModelSpec& spec);

}  // namespace tessera
