#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "common/decoding/model_facts.h"
#include "common/decoding/sampling.h"
#include "common/decoding/sequence.h"
#include "common/decoding/span.h"
#include "tests/support/measure_reference.h"

namespace tessera {

struct GoldenBlock {
  BlockIndex index = 0;
  BlockPhase phase = BlockPhase::kActive;
  std::int32_t total_steps = 0;
};

struct GoldenMeasured {
  Position position = 0;
  Position row = 0;
  std::int32_t step = 0;
  TokenId token = 0;
  float confidence = 0.0F;  ///< Plain confidence where the strategy uses that.
  std::vector<Alternative> alternatives;
};

struct GoldenWrite {
  Position position = 0;
  TokenId token = 0;
  float confidence = 0.0F;
};

/// One step of a trace. Lists that a step does not have are empty.
struct GoldenStep {
  std::string kind;
  PositionRange rows;
  std::int32_t cache_len = 0;
  std::string mask;
  std::int32_t mask_block = 0;
  std::vector<PositionRange> stores;  ///< Touching ranges are joined.
  std::vector<GoldenBlock> blocks;    ///< As forwarded.
  std::vector<RowRecipe> recipes;     ///< Weight and renormalisation are not recorded.
  std::vector<GoldenMeasured> measured;
  std::vector<TokenId> canvas;  ///< Input of a denoising step; the next three are its measurement.
  std::vector<TokenId> sampled;
  std::vector<TokenId> greedy;
  std::vector<float> entropy;
  std::vector<GoldenWrite> writes;
  std::vector<BlockIndex> to_cache;
  std::vector<BlockIndex> committed;
  Position frontier = 0;
  Position cached_len = 0;
};

/// One request decoded by the oracle, step by step.
struct Golden {
  std::string id;
  std::string strategy;
  std::uint64_t hash_seed = 0;  ///< 0 for goldens of checkpoints
  std::string checkpoint;       ///< Empty for goldens of the hash model
  ModelFacts facts;
  nlohmann::json options;  ///< All options of the oracle, parity switches included.
  std::vector<TokenId> prompt;
  std::vector<TokenId> tokens;
  std::string finish_reason;
  std::int32_t num_steps = 0;
  std::int32_t num_measured_steps = 0;
  std::vector<GoldenStep> trace;

  SamplingParams sampling() const;
  SequenceLimits limits() const;
  MeasureRules measure_rules() const;
};

/// Directory of the goldens: $TESSERA_GOLDENS_DIR, else the copy in this repository.
std::string goldens_dir();

/// Directory of the goldens of trained checkpoints: $TESSERA_GOLDENS_DIR/trained, else the copy in
/// this repository.
std::string trained_goldens_dir();

/// Directory of a trained checkpoint: $TESSERA_MODELS_DIR/<name>, else the copy in this repository.
std::string checkpoint_dir(const std::string& name);

/// Reads a JSON-lines file of goldens, gzip-compressed or plain.
/// @throws Error{kInvalidArgument} naming the path if it cannot be read.
std::vector<Golden> read_goldens(const std::string& path);

}  // namespace tessera
