#include "tests/worker/support/fixture.h"

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "worker/weights/mapped_file.h"
#include "worker/weights/safetensors_header.h"

namespace tessera {
namespace {

MaskKind mask_of(const std::string& kind) {
  if (kind == "full") return MaskKind::kFull;
  if (kind == "causal") return MaskKind::kCausal;
  if (kind == "block_causal") return MaskKind::kBlockCausal;
  TESSERA_REQUIRE(kind == "d2f", "unknown mask ", kind);
  return MaskKind::kPromptFull;
}

class CaseTensors {
 public:
  explicit CaseTensors(const std::string& path)
      : file_(path), entries_(parse_safetensors_header(file_.bytes(), path)) {}

  template <typename T>
  std::vector<T> values(const std::string& name) const {
    const SafetensorsEntry& entry = find(name);
    std::vector<T> values(static_cast<std::size_t>(entry.end - entry.begin) / sizeof(T));
    std::memcpy(values.data(), file_.bytes().data() + entry.begin, values.size() * sizeof(T));
    return values;
  }

  const SafetensorsEntry& find(const std::string& name) const {
    for (const SafetensorsEntry& entry : entries_) {
      if (entry.name == name) return entry;
    }
    TESSERA_REQUIRE(false, "no tensor ", name);
    return entries_.front();
  }

 private:
  MappedFile file_;
  std::vector<SafetensorsEntry> entries_;
};

LayerValues layer_values(const CaseTensors& tensors,
                         const std::string& prefix,
                         std::int32_t num_layers) {
  LayerValues layers;
  for (std::int32_t i = 0; i <= num_layers; ++i) {
    const std::string index = std::to_string(i);
    layers.hidden.push_back(tensors.values<float>(prefix + "hidden." + index));
    if (i == num_layers) break;
    layers.experts.push_back(tensors.values<std::int32_t>(prefix + "router_ids." + index));
    layers.expert_weights.push_back(tensors.values<float>(prefix + "router_weights." + index));
  }
  return layers;
}

}  // namespace

std::filesystem::path fixtures_dir() {
  const char* given = std::getenv("TESSERA_FIXTURES_DIR");
  return given != nullptr ? given : TESSERA_SOURCE_DIR "/tests/golden/fixtures";
}

std::vector<FixtureCase> read_fixture_cases(const std::string& model) {
  const std::filesystem::path dir = fixtures_dir() / model;
  const CaseTensors tensors(dir / "cases.safetensors");
  const nlohmann::json list = nlohmann::json::parse(std::ifstream(dir / "cases.json"));
  std::vector<FixtureCase> cases;
  for (const nlohmann::json& json : list.at("cases")) {
    FixtureCase fixture;
    fixture.name = json.at("name");
    fixture.mask = mask_of(json.at("mask_kind"));
    fixture.mask_block = std::max(1, json.at("block_size").get<std::int32_t>());
    if (fixture.mask == MaskKind::kPromptFull) fixture.prompt_len = json.at("prompt_len");
    fixture.first = json.at("first_position");
    fixture.tokens = tensors.values<TokenId>(fixture.name + ".input_ids");
    fixture.logits = tensors.values<float>(fixture.name + ".logits");
    fixture.vocab_size =
        static_cast<std::int32_t>(tensors.find(fixture.name + ".logits").shape.back());
    cases.push_back(std::move(fixture));
  }
  return cases;
}

std::vector<CanvasCase> read_canvas_cases(const std::string& model, std::int32_t num_layers) {
  const std::filesystem::path dir = fixtures_dir() / model;
  const CaseTensors tensors(dir / "cases.safetensors");
  const nlohmann::json list = nlohmann::json::parse(std::ifstream(dir / "cases.json"));
  std::vector<CanvasCase> cases;
  for (const nlohmann::json& json : list.at("cases")) {
    CanvasCase fixture;
    fixture.name = json.at("name");
    fixture.segments = json.at("segments").get<std::vector<std::int32_t>>();
    const std::string prefix = fixture.name + ".";
    fixture.tokens = tensors.values<TokenId>(prefix + "input_ids");
    fixture.encoder = layer_values(tensors, prefix + "encoder.", num_layers);
    for (std::int32_t i = 0; i < num_layers; ++i) {
      const std::string index = std::to_string(i);
      fixture.keys.push_back(tensors.values<float>(prefix + "encoder.key." + index));
      fixture.values.push_back(tensors.values<float>(prefix + "encoder.value." + index));
    }
    fixture.canvas = tensors.values<TokenId>(prefix + "canvas_ids");
    for (const char* step : {"step0.", "step1."}) {
      fixture.steps.push_back({tensors.values<float>(prefix + step + "logits"),
                               layer_values(tensors, prefix + step, num_layers)});
    }
    cases.push_back(std::move(fixture));
  }
  return cases;
}

}  // namespace tessera
