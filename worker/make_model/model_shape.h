#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>

namespace tessera {

/// Dimensions of a model whose config.json has the fields of Qwen and Llama.
struct ModelShape {
  std::string_view family;
  std::int32_t hidden_size = 0;
  std::int32_t num_layers = 0;
  std::int32_t num_q_heads = 0;
  std::int32_t num_kv_heads = 0;
  std::int32_t head_dim = 0;
  std::int32_t intermediate_size = 0;
  std::int32_t vocab_size = 0;
  bool tie_word_embeddings = false;
  double rope_theta = 1e6;
  std::int32_t max_position_embeddings = 32768;
};

struct ModelPreset {
  std::string_view name;
  ModelShape shape;
};

/// Shapes of published models, and of the bundled one.
std::span<const ModelPreset> model_presets();

/// The families that a ModelShape can describe. Any other is made from its config.json.
std::span<const std::string_view> shape_families();

/// config.json of a model of this shape, without token ids.
/// @throws Error{kInvalidArgument} for a family that is not in shape_families().
nlohmann::ordered_json config_of(const ModelShape& shape, std::string_view torch_dtype);

}  // namespace tessera
