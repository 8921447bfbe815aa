#include "tests/support/golden_file.h"

#include <zlib.h>

#include <array>
#include <cstdlib>
#include <memory>
#include <sstream>

#include "common/base/error.h"

namespace tessera {
namespace {

using Json = nlohmann::json;

std::string read_text(const std::string& path) {
  // gzread passes plain files through.
  const std::unique_ptr<gzFile_s, int (*)(gzFile)> file(gzopen(path.c_str(), "rb"), &gzclose);
  TESSERA_REQUIRE(file != nullptr, "cannot open ", path);
  std::string text;
  std::array<char, 1 << 16> buffer;
  int count = 0;
  while ((count = gzread(file.get(), buffer.data(), buffer.size())) > 0) {
    text.append(buffer.data(), static_cast<std::size_t>(count));
  }
  TESSERA_REQUIRE(count == 0, "cannot read ", path);
  return text;
}

template <typename T>
std::optional<T> optional_of(const Json& value) {
  if (value.is_null()) return std::nullopt;
  return value.get<T>();
}

ModelFacts facts_of(const Json& json) {
  ModelFacts facts;
  facts.vocab_size = json.at("vocab_size");
  facts.tokenizer_size = json.at("tokenizer_size");
  facts.mask_id = optional_of<TokenId>(json.at("mask_id"));
  facts.eos_ids = json.at("eos_ids").get<std::vector<TokenId>>();
  facts.shifted = json.at("shifted");
  facts.canvas_length = optional_of<std::int32_t>(json.at("canvas_length"));
  return facts;
}

PositionRange range_of(const Json& first_and_count) {
  const Position first = first_and_count.at(0);
  return {first, first + first_and_count.at(1).get<std::int32_t>()};
}

std::vector<PositionRange> joined_ranges(const Json& json) {
  std::vector<PositionRange> ranges;
  for (const Json& item : json) {
    const PositionRange range = range_of(item);
    if (!ranges.empty() && ranges.back().end == range.begin) {
      ranges.back().end = range.end;
    } else {
      ranges.push_back(range);
    }
  }
  return ranges;
}

RowRecipe recipe_of(const Json& json, const Json& options) {
  RowRecipe row;
  row.position = json.at(0);
  row.recipe.kind = json.at(1) == "add" ? RecipeKind::kAdd : RecipeKind::kBlend;
  row.recipe.base_id = json.at(2);
  row.recipe.num_ids = static_cast<std::int32_t>(json.at(3).size());
  for (std::size_t i = 0; i < json.at(3).size(); ++i) {
    row.recipe.ids.at(i) = json.at(3)[i];
    row.recipe.probabilities.at(i) = json.at(4)[i];
  }
  row.recipe.residual = json.at(5);
  const bool is_add = row.recipe.kind == RecipeKind::kAdd;
  row.recipe.weight = is_add ? options.at("token_merge_weight").get<float>() : 1.0F;
  row.recipe.renormalize = is_add || options.at("token_merge_renormalize").get<bool>();
  return row;
}

GoldenMeasured measured_of(const Json& json) {
  GoldenMeasured measured{json.at(0), json.at(1), json.at(2), json.at(3), json.at(4), {}};
  if (json.size() > 5) {
    for (std::size_t i = 0; i < json[5].size(); ++i) {
      measured.alternatives.push_back({json[5][i], json[6][i]});
    }
  }
  return measured;
}

template <typename T>
std::vector<T> list_of(const Json& step, const char* key) {
  const auto found = step.find(key);
  return found == step.end() ? std::vector<T>{} : found->get<std::vector<T>>();
}

GoldenStep step_of(const Json& json, const Json& options) {
  GoldenStep step;
  step.kind = json.at("kind");
  step.rows = range_of(json.at("rows"));
  step.cache_len = json.at("cache");
  step.mask = json.at("mask");
  step.mask_block = json.at("mask_block");
  step.stores = joined_ranges(json.at("store"));
  for (const Json& block : json.at("blocks")) {
    const auto phase = block.at(1) == "active" ? BlockPhase::kActive : BlockPhase::kToCache;
    step.blocks.push_back({block.at(0), phase, block.at(2)});
  }
  for (const Json& recipe : list_of<Json>(json, "recipes")) {
    step.recipes.push_back(recipe_of(recipe, options));
  }
  for (const Json& measured : list_of<Json>(json, "measured")) {
    step.measured.push_back(measured_of(measured));
  }
  step.canvas = list_of<TokenId>(json, "canvas");
  step.sampled = list_of<TokenId>(json, "sampled");
  step.greedy = list_of<TokenId>(json, "greedy");
  step.entropy = list_of<float>(json, "entropy");
  for (const Json& write : json.at("writes")) {
    step.writes.push_back({write.at(0), write.at(1), write.at(2)});
  }
  step.to_cache = json.at("to_cache").get<std::vector<BlockIndex>>();
  step.committed = json.at("committed").get<std::vector<BlockIndex>>();
  step.frontier = json.at("frontier");
  step.cached_len = json.at("cached");
  return step;
}

Golden golden_of(const Json& json) {
  Golden golden;
  golden.id = json.at("id");
  golden.strategy = json.at("strategy");
  const Json& model = json.at("model");
  if (model.at("kind") == "hash") golden.hash_seed = model.at("seed");
  if (model.at("kind") == "checkpoint") golden.checkpoint = model.at("name");
  golden.facts = facts_of(json.at("facts"));
  golden.options = json.at("options");
  golden.prompt = json.at("prompt").get<std::vector<TokenId>>();
  golden.tokens = json.at("tokens").get<std::vector<TokenId>>();
  golden.finish_reason = json.at("finish_reason");
  golden.num_steps = json.at("nfe");
  golden.num_measured_steps = json.at("measured_steps");
  for (const Json& step : json.at("trace")) golden.trace.push_back(step_of(step, golden.options));
  return golden;
}

}  // namespace

SamplingParams Golden::sampling() const {
  return {.temperature = options.at("temperature"),
          .top_p = options.at("top_p"),
          .top_k = options.at("top_k"),
          .seed = options.at("seed")};
}

SequenceLimits Golden::limits() const {
  SequenceLimits limits;
  limits.max_tokens = options.at("max_tokens");
  constexpr std::int32_t kNoLimit = 1 << 20;
  limits.max_model_len = optional_of<std::int32_t>(options.at("max_model_len")).value_or(kNoLimit);
  limits.max_nfe = optional_of<std::int32_t>(options.at("max_nfe"));
  limits.max_repetition_run = optional_of<std::int32_t>(options.at("max_repetition_run"));
  const bool ignores_eos = options.at("ignore_eos");
  const auto own_eos = optional_of<std::vector<TokenId>>(options.at("eos_ids"));
  if (!ignores_eos) limits.eos_ids = own_eos.value_or(facts.eos_ids);
  return limits;
}

MeasureRules Golden::measure_rules() const {
  return {.lowest_id_wins = options.at("tie_break") == "lowest",
          .bf16_confidence = options.at("confidence_dtype") == "bf16",
          .may_choose_mask = options.at("allow_mask_prediction")};
}

std::string goldens_dir() {
  const char* given = std::getenv("TESSERA_GOLDENS_DIR");
  return given != nullptr ? given : TESSERA_SOURCE_DIR "/tests/golden/decoding";
}

std::string trained_goldens_dir() {
  const char* given = std::getenv("TESSERA_GOLDENS_DIR");
  return given != nullptr ? std::string(given) + "/trained"
                          : TESSERA_SOURCE_DIR "/tests/golden/trained";
}

std::string checkpoint_dir(const std::string& name) {
  const char* given = std::getenv("TESSERA_MODELS_DIR");
  return (given != nullptr ? std::string(given) : TESSERA_SOURCE_DIR "/deploy/models") + "/" + name;
}

std::vector<Golden> read_goldens(const std::string& path) {
  std::vector<Golden> goldens;
  std::istringstream lines(read_text(path));
  for (std::string line; std::getline(lines, line);) {
    if (!line.empty()) goldens.push_back(golden_of(Json::parse(line)));
  }
  return goldens;
}

}  // namespace tessera
