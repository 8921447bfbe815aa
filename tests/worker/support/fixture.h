#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "common/decoding/span.h"

namespace tessera {

// How close a back end comes to fixtures, which are fp32.
inline constexpr double kFloatTolerance = 2e-4;  ///< fp32: of the largest value of a row.
inline constexpr double kRowCosine = 0.998;      ///< bf16 weights and activations.

/// One case of a fixture: rows of one sequence under one mask, and what the oracle makes of them.
struct FixtureCase {
  std::string name;
  MaskKind mask = MaskKind::kFull;
  std::int32_t mask_block = 1;
  std::int32_t prompt_len = 0;
  Position first = 0;
  std::vector<TokenId> tokens;
  std::vector<float> logits;  ///< [rows, vocab_size]
  std::int32_t vocab_size = 0;

  std::int32_t num_rows() const { return static_cast<std::int32_t>(tokens.size()); }
  const float* row(std::int32_t index) const {
    return logits.data() + std::int64_t{index} * vocab_size;
  }
};

/// What the oracle makes of rows at every place of a model with a canvas.
struct LayerValues {
  std::vector<std::vector<float>> hidden;  ///< 0: in front of the layers; l: behind layer l - 1
  std::vector<std::vector<std::int32_t>> experts;  ///< Of every layer: [rows, k], by rank
  std::vector<std::vector<float>> expert_weights;  ///< likewise
};

/// One case of a fixture of a model with a canvas: an encoded prefix, and two steps on a canvas
/// behind it, the second conditioned on the first at temperature 0.8.
struct CanvasCase {
  struct Step {
    std::vector<float> logits;  ///< [canvas, vocab_size]
    LayerValues layers;
  };

  std::string name;
  std::vector<std::int32_t> segments;  ///< Lengths of what was encoded together.
  std::vector<TokenId> tokens;
  LayerValues encoder;
  std::vector<std::vector<float>> keys;  ///< Of every layer: [KV heads, tokens, head_dim]
  std::vector<std::vector<float>> values;
  std::vector<TokenId> canvas;
  std::vector<Step> steps;
};

/// Directory of the fixtures: $TESSERA_FIXTURES_DIR, else the copy in this repository.
std::filesystem::path fixtures_dir();

/// Cases of fixtures_dir()/<model>.
std::vector<FixtureCase> read_fixture_cases(const std::string& model);
std::vector<CanvasCase> read_canvas_cases(const std::string& model, std::int32_t num_layers);

}  // namespace tessera
