#include "worker/make_model/model_shape.h"

#include <algorithm>
#include <array>

#include "common/base/error.h"
#include "common/model_spec/families.h"

namespace tessera {
namespace {

constexpr std::array<std::string_view, 4> kFamilies = {"sdar", "dream", "dream_reasoner",
                                                       "stable_diffcoder"};

// What checkpoints of the families call themselves.
constexpr std::array<std::string_view, 4> kModelTypes = {"sdar", "Dream", "Dream", "llama"};

constexpr std::array<ModelPreset, 8> kPresets = {{
    {"tiny-sdar", {"sdar", 256, 6, 4, 2, 64, 704, 2048, false, 1e4, 4096}},
    {"qwen3-0.6b", {"sdar", 1024, 28, 16, 8, 128, 3072, 151936, true}},
    {"sdar-1.7b", {"sdar", 2048, 28, 16, 8, 128, 6144, 151936}},
    {"sdar-4b", {"sdar", 2560, 36, 32, 8, 128, 9728, 151936}},
    {"sdar-8b", {"sdar", 4096, 36, 32, 8, 128, 12288, 151936}},
    {"dream-7b", {"dream", 3584, 28, 28, 4, 128, 18944, 152064, false, 1e6, 131072}},
    {"dream-reasoner-8b", {"dream_reasoner", 4096, 36, 32, 8, 128, 12288, 151936}},
    {"stable-diffcoder-8b",
     {"stable_diffcoder", 4096, 32, 32, 8, 128, 14336, 155136, false, 5e5, 8192}},
}};

}  // namespace

std::span<const ModelPreset> model_presets() {
  return kPresets;
}

std::span<const std::string_view> shape_families() {
  return kFamilies;
}

nlohmann::ordered_json config_of(const ModelShape& shape, std::string_view torch_dtype) {
  const auto* known = std::ranges::find(kFamilies, shape.family);
  TESSERA_REQUIRE(known != kFamilies.end(), "--family ", shape.family,
                  ": cannot be described by dimensions alone; give its config.json with --config");
  const auto index = static_cast<std::size_t>(known - kFamilies.begin());
  const auto families = model_families();
  const auto family = std::ranges::find(families, shape.family, &ModelFamily::name);
  TESSERA_CHECK(family != families.end(), "family ", shape.family, " has no reader");
  nlohmann::ordered_json config;
  config["architectures"] = {family->architecture};
  config["model_type"] = kModelTypes.at(index);
  config["hidden_act"] = "silu";
  config["hidden_size"] = shape.hidden_size;
  config["num_hidden_layers"] = shape.num_layers;
  config["num_attention_heads"] = shape.num_q_heads;
  config["num_key_value_heads"] = shape.num_kv_heads;
  config["head_dim"] = shape.head_dim;
  config["intermediate_size"] = shape.intermediate_size;
  config["vocab_size"] = shape.vocab_size;
  config["tie_word_embeddings"] = shape.tie_word_embeddings;
  config["rms_norm_eps"] = 1e-6;
  config["rope_theta"] = shape.rope_theta;
  config["max_position_embeddings"] = shape.max_position_embeddings;
  config["torch_dtype"] = torch_dtype;
  return config;
}

}  // namespace tessera
