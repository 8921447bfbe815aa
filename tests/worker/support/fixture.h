#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "common/decoding/span.h"

namespace tessera {

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

/// Directory of the fixtures: $TESSERA_FIXTURES_DIR, else the copy in this repository.
std::filesystem::path fixtures_dir();

/// Cases of fixtures_dir()/<model>.
std::vector<FixtureCase> read_fixture_cases(const std::string& model);

}  // namespace tessera
